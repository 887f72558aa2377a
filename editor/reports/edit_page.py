"""A report as one HTML file with tables and figures. The page loads nothing from elsewhere."""

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
    """A number with three decimals; a dash for None, NaN and infinity. Other values as text."""
    if value is None or (isinstance(value, float) and not isfinite(value)):
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def inline_svg(svg: str) -> str:
    """An SVG document without its prologue, so that it can stand inside a page."""
    return svg[svg.index("<svg") :]


def report_page(
    title: str,
    facts: Mapping[str, Any],
    measurements: Sequence[Mapping[str, Any]],
    examples: Sequence[Mapping[str, Any]],
    figures: Figures,
    *,
    skipped: Sequence[Mapping[str, str]] = (),
) -> str:
    """The report of an edit as HTML.

    facts: what was done, one line each. measurements, examples: as in `CheckReport.as_json`.
    skipped: place and reason of each record that was not written.
    """
    drawn = {name: Markup(inline_svg(as_svg(figure))) for name, figure in figures.items()}
    return TEMPLATES.get_template("report.html").render(
        title=title,
        facts=facts,
        measurements=measurements,
        examples=examples,
        figures=drawn,
        skipped=skipped,
        number=number_text,
    )


def table_page(
    title: str, facts: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], figures: Figures
) -> str:
    """A page with figures and one table below them.

    The keys of the first row are the table's head.
    """
    drawn = {name: Markup(inline_svg(as_svg(figure))) for name, figure in figures.items()}
    return TEMPLATES.get_template("table.html").render(
        title=title, facts=facts, rows=rows, figures=drawn, number=number_text
    )
