"""The page of the metrics: every series with its type, labels and help."""

import re
from collections.abc import Iterator

from reference_pages.live import metric_help, metric_samples
from reference_pages.markdown import cell, code, page, table

INTRODUCTION = [
    "`factd run` serves these series at `http://127.0.0.1:9464/metrics` (`[http]` changes the",
    "address). A time is in seconds since 1970; 0 means that there is no such time. The name of a",
    "job of factd is in the label `step`, because Prometheus gives every series a label `job` of",
    "its own. The series of layers and checks exist as soon as a release with facts is live.",
    "",
    "The alerts that use them are explained in the [runbook](../how-to/operate/runbook.md).",
    "",
]


def rows() -> Iterator[tuple[str, str, str, str]]:
    """A row for each series of the exporter's docstring."""
    said = metric_help()
    for sample in metric_samples():
        name, labels = re.match(r"(\w+)(?:\{([^}]*)\})?", sample).groups()  # type: ignore[union-attr]
        bare = name if name in said else re.sub(r"_(total|bucket)$", "", name)
        shown = [x for x in re.findall(r"(\w+)=", labels or "") if x != "le"]
        kind, text = said.get(bare, said.get(f"{bare}_total", ("", "")))
        yield code(name), kind, cell(", ".join(f"`{x}`" for x in shown)), cell(text)


def metrics_page() -> str:
    """The whole page."""
    return page("Metrics", INTRODUCTION, table(("series", "type", "labels", "meaning"), rows()))
