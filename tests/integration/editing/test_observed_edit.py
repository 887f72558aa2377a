"""The log lines and the OTLP spans of one edit of the tiny world."""

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from factd.daemon import tracing
from support.fakes.http import Asked, Reply, serving
from support.terminal import FEED, Operator

EVENTS = {"candidate planned", "candidate moved", "candidate judged", "release publishing", "release live"}  # fmt: skip
SPANS = {"edit", "plan", "solve", "checks", "judge", "publish"}


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What was seen of an edit."""

    lines: list[dict[str, Any]]
    batch: str
    spans: Mapping[str, Any]
    names: tuple[str, ...]  # of all spans
    resource: Mapping[str, Any]
    asked: tuple[Asked, ...]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    folder = tmp_path_factory.mktemp("observed")
    operator = Operator(folder)
    operator.ingest(FEED)
    (folder / "headers").write_text("x-team: facts\n")
    with serving(lambda _: Reply()) as collector:
        config = folder / "factd.toml"
        table = f'[tracing]\nendpoint = "{collector.url}/v1/traces"\nheaders_file = "headers"\n'
        config.write_text(config.read_text() + table)
        try:
            done = operator.invoke("--log-json", "edit", "--publish", "--json")
        finally:
            tracing.end()
    assert done.exit_code == 0, done.stderr
    requests = [ExportTraceServiceRequest.FromString(unpacked(asked)) for asked in collector.asked]
    held = [found for request in requests for found in request.resource_spans]
    every = [s for found in held for scope in found.scope_spans for s in scope.spans]
    return Watched(
        lines=[json.loads(line) for line in done.stderr.splitlines()],
        batch=json.loads(done.stdout)["batch_id"][:12],
        spans={span.name: span for span in every},
        names=tuple(span.name for span in every),
        resource=attributes(held[0].resource),
        asked=tuple(collector.asked),
    )


def unpacked(asked: Asked) -> bytes:
    packed = asked.headers.get("content-encoding") == "gzip"
    return gzip.decompress(asked.body) if packed else asked.body


def attributes(span: Any) -> dict[str, Any]:
    return {a.key: a.value.string_value or a.value.int_value for a in span.attributes}


def test_every_line_is_json_and_carries_its_candidate_and_batch(watched: Watched) -> None:
    named = [line["event"] for line in watched.lines]
    assert set(named) >= EVENTS
    first, last = named.index("candidate planned"), named.index("candidate judged")
    for line in watched.lines[first : last + 1]:
        assert (line["candidate"], line["batch"]) == (1, watched.batch), line
    assert {line["release"] for line in watched.lines[last + 1 :]} == {1}
    assert all(line["host"] and line["timestamp"] and line["level"] for line in watched.lines)


def test_the_spans_of_an_edit_reach_a_collector_as_one_tree(watched: Watched) -> None:
    spans = watched.spans
    assert set(spans) >= SPANS
    edit = spans["edit"]
    assert {spans[name].parent_span_id for name in ("plan", "solve", "checks")} == {edit.span_id}
    assert spans["judge"].parent_span_id == spans["checks"].span_id
    assert attributes(spans["publish"]) == {"factd.release": 1}
    assert edit.end_time_unix_nano > edit.start_time_unix_nano
    assert watched.resource["service.name"] == "factd"
    assert {(a.method, a.path, a.headers["x-team"]) for a in watched.asked} == {
        ("POST", "/v1/traces", "facts")
    }


def test_an_edit_plans_once(watched: Watched) -> None:
    assert watched.names.count("plan") == 1
    assert watched.names.count("solve") == 1


def test_lines_and_spans_of_an_edit_have_one_trace_id(watched: Watched) -> None:
    edit = watched.spans["edit"].trace_id.hex()
    judged = next(line for line in watched.lines if line["event"] == "candidate judged")
    assert judged["trace_id"] == edit
    live = next(line for line in watched.lines if line["event"] == "release live")
    assert live["trace_id"] == watched.spans["publish"].trace_id.hex()


def test_lines_about_what_makes_a_candidate_fail_carry_it_too(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    operator = Operator(tmp_path_factory.mktemp("rejected"), edit=1.0)
    config = operator.folder / "factd.toml"
    weak = config.read_text().replace("v_num_grad_steps = 20", "v_num_grad_steps = 1")
    config.write_text(weak)
    operator.ingest(FEED)
    done = operator.invoke("--log-json", "edit")
    assert done.exit_code == 1
    *lines, sentence = done.stderr.splitlines()
    assert "efficacy generation" in sentence
    found = [json.loads(line) for line in lines]
    named = [line["event"] for line in found]
    assert {"candidate narrowed", "nothing set aside"} & set(named)
    for line in found[named.index("candidate planned") :]:
        assert line["candidate"] >= 1 and len(line["batch"]) == 12, line
