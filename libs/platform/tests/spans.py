"""The spans that a test's process makes, kept where the test can look at them."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, format_span_id, format_trace_id

from crm_platform import otlp, tracing


class Spans:
    """What was traced so far."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def all(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.all() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span

    def names(self) -> set[str]:
        return {span.name for span in self.all()}

    def clear(self) -> None:
        self._exporter.clear()


def context_of(span: ReadableSpan) -> SpanContext:
    context: SpanContext | None = span.context
    assert context is not None
    return context


def trace_of(span: ReadableSpan) -> str:
    return format_trace_id(context_of(span).trace_id)


def parent_id(span: ReadableSpan) -> str | None:
    return None if span.parent is None else format_span_id(span.parent.span_id)


def own_id(span: ReadableSpan) -> str:
    return format_span_id(context_of(span).span_id)


@contextmanager
def traced(ratio: float = 1.0) -> Iterator[Spans]:
    """Tracing is on, as in a process that was told a receiver; the spans stay here."""
    exporter = InMemorySpanExporter()
    sender = otlp.through(SimpleSpanProcessor(exporter), ratio, "shop", "test", "0")
    tracing.trace_with(sender.tracer, sender.stop)
    try:
        yield Spans(exporter)
    finally:
        tracing.stop_tracing()
