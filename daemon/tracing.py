"""Spans for OpenTelemetry. Without `[tracing] endpoint` they cost nothing.

Log lines in a span carry its trace id (`trace_id`). Work in another process joins the same trace if
it gets the parent: `traceparent()` in this process, `span(…, parent=…)` in the other one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from factd.daemon.config.secrets import secret_text, without_secrets
from factd.daemon.config.tables import TracingTable
from factd.daemon.errors import BadConfig
from factd.daemon.log import bound

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Tracer

EXTRA = "[tracing] needs OpenTelemetry: pip install 'factd[otel]'"


class _Tracing:
    """The tracer of this process; None until `begin`."""

    provider: "TracerProvider | None" = None
    tracer: "Tracer | None" = None


@contextmanager
def span(name: str, *, parent: str = "", **attributes: Any) -> Iterator[None]:
    """A span of this name around a block, or around a function as its decorator.

    parent: the `traceparent` of another process, used if this process has no span. Attributes that
    are None are left out.
    """
    if _Tracing.tracer is None:
        yield
        return
    from opentelemetry.trace import Status, StatusCode

    known = {f"factd.{key}": value for key, value in attributes.items() if value is not None}
    started = _Tracing.tracer.start_as_current_span(
        name,
        _context(parent),
        attributes=known,
        record_exception=False,  # text and stack of an exception may hold secrets
        set_status_on_exception=False,
    )
    with started as current, bound(trace_id=f"{current.get_span_context().trace_id:032x}"):
        try:
            yield
        except BaseException as error:
            text = without_secrets(f"{type(error).__name__}: {error}")
            current.set_status(Status(StatusCode.ERROR, text))
            raise


def trace_id() -> str | None:
    """The id of the current trace, for an exemplar; None if there is no trace, or if it is not
    sampled.
    """
    if _Tracing.tracer is None:
        return None
    from opentelemetry.trace import get_current_span

    context = get_current_span().get_span_context()
    kept = context.is_valid and context.trace_flags.sampled
    return f"{context.trace_id:032x}" if kept else None


def traceparent() -> str:
    """The current span for another process, in the format of https://www.w3.org/TR/trace-context.

    Empty if there is no span.
    """
    if _Tracing.tracer is None:
        return ""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent", "")


def _context(parent: str) -> "Context | None":
    """The context of the parent; None: the span belongs below the current span."""
    from opentelemetry.trace import get_current_span
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    if not parent or get_current_span().get_span_context().is_valid:
        return None
    return TraceContextTextMapPropagator().extract({"traceparent": parent})


def begin(table: TracingTable) -> None:
    """Start to send the spans of this process to the configured collector. Later calls do nothing.

    Raises: BadConfig: the extra `otel` is not installed, or the headers file is wrong.
    """
    if not table.endpoint or _Tracing.provider is not None:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise BadConfig(EXTRA) from error
    exporter = OTLPSpanExporter(
        endpoint=table.endpoint, headers=_headers(table), timeout=table.timeout_seconds
    )
    begin_with(exporter, table)


def begin_with(exporter: "SpanExporter", table: TracingTable) -> None:
    """Start to send the spans of this process to any exporter."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

    about = {"service.name": table.service, "service.version": version("factd")}
    provider = TracerProvider(
        resource=Resource.create(about), sampler=ParentBasedTraceIdRatio(table.share)
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _Tracing.provider, _Tracing.tracer = provider, provider.get_tracer("factd")


def end() -> None:
    """Send the remaining spans, and stop sending."""
    provider = _Tracing.provider
    _Tracing.provider = _Tracing.tracer = None
    if provider is not None:
        provider.shutdown()


def _headers(table: TracingTable) -> dict[str, str]:
    """The headers for the collector, from a file with one "name: value" per line.

    Raises: BadConfig.
    """
    if table.headers_file is None:
        return {}
    lines = [line for line in secret_text(table.headers_file).splitlines() if line.strip()]
    if any(":" not in line for line in lines):
        raise BadConfig(f'{table.headers_file} must hold one "name: value" per line')
    return {
        name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
