"""A report as one HTML file: tables and figures, nothing loaded from elsewhere."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup
from matplotlib.figure import Figure

from factd.editor.reports.plots import as_svg

Figures = Mapping[str, Figure]  # title -> figure
TEMPLATES = Environment(
    loader=PackageLoader("factd.editor.reports", "html"), autoescape=select_autoescape()
)


def number_text(value: Any) -> str:
    """Three decimals; a dash where there is no number."""
    if value is None or (isinstance(value, float) and not isfinite(value)):
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def inline_svg(svg: str) -> str:
    """An SVG document without its prologue, to stand inside a page."""
    return svg[svg.index("<svg") :]


def report_page(
    title: str,
    facts: Mapping[str, Any],
    measurements: Sequence[Mapping[str, Any]],
    examples: Sequence[Mapping[str, Any]],
    figures: Figures,
) -> str:
    """A page. facts: what was done, a line each; measurements and examples as `CheckReport.as_json` gives them."""
    drawn = {name: Markup(inline_svg(as_svg(figure))) for name, figure in figures.items()}
    return TEMPLATES.get_template("report.html").render(
        title=title,
        facts=facts,
        measurements=measurements,
        examples=examples,
        figures=drawn,
        number=number_text,
    )


def table_page(
    title: str, facts: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], figures: Figures
) -> str:
    """A page with one table under its figures; the rows' keys are its head."""
    drawn = {name: Markup(inline_svg(as_svg(figure))) for name, figure in figures.items()}
    return TEMPLATES.get_template("table.html").render(
        title=title, facts=facts, rows=rows, figures=drawn, number=number_text
    )
