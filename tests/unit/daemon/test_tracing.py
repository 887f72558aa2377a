"""Spans: nothing without a collector, a tree with one, in step with the log lines."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from factd.daemon import tracing
from factd.daemon.config.tables import TracingTable
from factd.daemon.errors import BadConfig
from factd.daemon.log import configure, log
from support.paths import ROOT

WITHOUT = """
import sys
sys.modules["opentelemetry"] = None
from factd.daemon import tracing
from factd.daemon.errors import BadConfig
from factd.daemon.config.tables import TracingTable
with tracing.span("edit", run=1):
    assert (tracing.trace_id(), tracing.traceparent()) == (None, "")
try:
    tracing.begin(TracingTable(endpoint="http://127.0.0.1:9"))
except BadConfig as error:
    print(error)
loaded = (name for name, module in sys.modules.items() if module)
print(sorted(name for name in loaded if name.startswith("opentelemetry")))
"""


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    found = InMemorySpanExporter()
    tracing.begin_with(found, TracingTable())
    yield found
    tracing.end()


def spans(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    assert tracing._Tracing.provider is not None
    tracing._Tracing.provider.force_flush()
    return {span.name: span for span in exporter.get_finished_spans()}


def test_without_a_collector_a_span_is_nothing() -> None:
    tracing.begin(TracingTable())
    with tracing.span("edit", run=1):
        assert tracing.trace_id() is None
        assert tracing.traceparent() == ""


def test_without_the_extra_spans_cost_no_import_and_a_collector_says_what_to_install() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines() == [tracing.EXTRA, "[]"], done.stderr


def test_spans_nest_and_their_trace_is_on_the_log_lines(
    exporter: InMemorySpanExporter, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(as_json=True)
    with tracing.span("run", job="cycle", run=7), tracing.span("edit", candidate=None):
        log.info("within")
        found = tracing.trace_id()
    configure()
    held = spans(exporter)
    assert held["edit"].parent is not None and held["run"].context is not None
    assert held["edit"].parent.span_id == held["run"].context.span_id
    assert dict(held["run"].attributes or {}) == {"factd.job": "cycle", "factd.run": 7}
    assert dict(held["edit"].attributes or {}) == {}
    assert json.loads(capsys.readouterr().err)["trace_id"] == found
    assert found == f"{held['run'].context.trace_id:032x}"
    assert tracing.trace_id() is None


def test_an_error_is_on_its_span_without_its_secret(exporter: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="hunter2"), tracing.span("pull"):
        raise ValueError("no answer from http://u:hunter2@host/")
    status = spans(exporter)["pull"].status
    assert not status.is_ok
    assert status.description == "ValueError: no answer from http://u:***@host/"
    assert list(spans(exporter)["pull"].events) == []


def test_another_process_goes_on_with_the_trace(exporter: InMemorySpanExporter) -> None:
    with tracing.span("run"):
        parent = tracing.traceparent()
    with tracing.span("task", parent=parent), tracing.span("edit", parent="00-nonsense"):
        pass
    held = spans(exporter)
    ids = {name: span.context.trace_id for name, span in held.items() if span.context}
    assert len(set(ids.values())) == 1 and set(ids) == {"run", "task", "edit"}


def test_spans_are_kept_by_share(exporter: InMemorySpanExporter) -> None:
    tracing.end()
    tracing.begin_with(exporter, TracingTable(share=0.0))
    with tracing.span("run"):
        assert tracing.trace_id() is None
    assert spans(exporter) == {}


def test_a_headers_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "headers").write_text("no colon here\n")
    table = TracingTable(endpoint="http://127.0.0.1:9", headers_file=tmp_path / "headers")
    with pytest.raises(BadConfig, match="name: value"):
        tracing.begin(table)


def test_a_collector_that_is_away_stops_nothing() -> None:
    tracing.begin(TracingTable(endpoint="http://127.0.0.1:9/v1/traces", timeout_seconds=0.5))
    with tracing.span("run"):
        assert tracing.trace_id() is not None  # it is recorded, and will be sent for nothing
    tracing.end()
    assert tracing.trace_id() is None
