"""One W3C trace from a request through the event store and Kafka to what was made of it (docs/tracing.md).

Tracing is off until `configure_tracing` was told where spans are received. Off, every function here costs one
comparison and nothing is stored or sent with an event. Spans carry names of code, routes, topics and places in them,
and numbers: never ids of people, paths, bodies or the messages of errors.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from time import time_ns
from types import MappingProxyType
from typing import Final, NamedTuple

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from crm_platform.errors import Refusal
from crm_platform.settings import ServiceSettings

TRACEPARENT: Final = "traceparent"
"""The name of the trace context as a header, of HTTP and of Kafka, and as an attribute of CloudEvents."""

_PROPAGATOR = TraceContextTextMapPropagator()
_NOTHING: Mapping[str, str] = MappingProxyType({})

Attributes = Mapping[str, AttributeValue]


class CommandTrace(NamedTuple):
    """A traced command: the context that its events carry, and when it was given (ns since 1970)."""

    traceparent: str
    given_at: int


_tracer: Tracer | None = None
_stop: Callable[[], None] | None = None


# -- on and off


def configure_tracing(service: str, release: str, settings: ServiceSettings) -> None:
    """Send this process's spans to the receiver that the settings name; without one, tracing stays off."""
    if settings.otlp_endpoint is None:
        return
    # The SDK is loaded only where spans are sent.
    from crm_platform.otlp import sending_to  # noqa: PLC0415

    sender = sending_to(settings.otlp_endpoint, settings.otlp_sample_ratio, service, release, settings.instance)
    trace_with(sender.tracer, sender.stop)


def trace_with(tracer: Tracer, stop: Callable[[], None]) -> None:
    """Make spans with that tracer until `stop_tracing`, which calls `stop`."""
    global _tracer, _stop
    _tracer, _stop = tracer, stop


def stop_tracing() -> None:
    """Send what is not sent yet, for a bounded time, and trace no more."""
    global _tracer, _stop
    stop, _tracer, _stop = _stop, None, None
    if stop is not None:
        stop()


def is_on() -> bool:
    return _tracer is not None


def tracer() -> Tracer | None:
    """What makes this process's spans; None where tracing is off."""
    return _tracer


# -- the current trace


def current_traceparent() -> str | None:
    """The context of the span that runs here; None outside of every trace that is kept."""
    if _tracer is None:
        return None
    context = trace.get_current_span().get_span_context()
    return written(context) if context.is_valid and context.trace_flags.sampled else None


def current_ids() -> Mapping[str, str]:
    """`trace_id` and `span_id` of the span that runs here, as log lines carry them; empty outside of every trace."""
    if _tracer is None:
        return _NOTHING
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return _NOTHING
    return {"trace_id": trace.format_trace_id(context.trace_id), "span_id": trace.format_span_id(context.span_id)}


# -- requests


@contextmanager
def serving(method: str, traceparent: str | None) -> Iterator[Span]:
    """The span of a request that is answered here; it continues the caller's trace where that is well formed."""
    with spanning(_on(), method, SpanKind.SERVER, {"http.request.method": method}, parent_of(traceparent)) as span:
        yield span


def calling(service: str, method: str) -> AbstractContextManager[Mapping[str, str]]:
    """The span of a request to another service; gives the headers that take the trace along."""
    if _tracer is None:
        return nullcontext(_NOTHING)
    return _calling(_tracer, service, method)


@contextmanager
def _calling(tracer: Tracer, service: str, method: str) -> Iterator[Mapping[str, str]]:
    attributes = {"http.request.method": method, "peer.service": service}
    with spanning(tracer, f"{method} {service}", SpanKind.CLIENT, attributes) as span:
        yield {TRACEPARENT: written(span.get_span_context())}


# -- commands


def command(name: str) -> AbstractContextManager[CommandTrace | None]:
    """The span of a command, from its being given to its answer; None where it is not traced."""
    if _tracer is None:
        return nullcontext()
    return _command(_tracer, name)


@contextmanager
def _command(tracer: Tracer, name: str) -> Iterator[CommandTrace | None]:
    given_at = time_ns()
    with spanning(tracer, f"command {name}", SpanKind.INTERNAL) as span:
        yield CommandTrace(written(span.get_span_context()), given_at) if span.is_recording() else None


def committing(group: Iterable[CommandTrace | None]) -> AbstractContextManager[None]:
    """In the trace of each command of a group: how long it waited for its turn, and how long the commit took."""
    if _tracer is None:
        return nullcontext()
    return _committing(_tracer, list(group))


@contextmanager
def _committing(tracer: Tracer, group: Sequence[CommandTrace | None]) -> Iterator[None]:
    taken_at = time_ns()
    try:
        yield
    finally:
        done_at = time_ns()
        size = {"crm.group.commands": len(group)}
        for each in filter(None, group):
            context = parent_of(each.traceparent)
            tracer.start_span("wait for the writer", context, start_time=each.given_at).end(taken_at)
            tracer.start_span("commit", context, attributes=size, start_time=taken_at).end(done_at)


# -- all of them


@contextmanager
def spanning(
    tracer: Tracer,
    name: str,
    kind: SpanKind,
    attributes: Attributes = _NOTHING,
    context: Context | None = None,
    links: Sequence[Link] = (),
) -> Iterator[Span]:
    """Make a span that is the current one meanwhile; of an error it keeps the kind, for its message may be personal."""
    with tracer.start_as_current_span(
        name, context, kind, attributes, links, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield span
        except Exception as failure:
            refusal = failure if isinstance(failure, Refusal) else None
            span.set_attribute("error.type", refusal.code if refusal else type(failure).__qualname__)
            if refusal is None or refusal.status >= 500:
                span.set_status(StatusCode.ERROR)
            raise


def _on() -> Tracer:
    if _tracer is None:
        raise RuntimeError("tracing is off: configure_tracing was not called, or told no receiver")
    return _tracer


def written(context: SpanContext) -> str:
    """The context as a `traceparent` header says it."""
    trace_id, span_id = trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id)
    return f"00-{trace_id}-{span_id}-{context.trace_flags:02x}"


def parent_of(traceparent: str | None) -> Context:
    """The context that a header names; empty, which begins a trace, where it is absent or malformed."""
    return _PROPAGATOR.extract({TRACEPARENT: traceparent} if traceparent else {}, Context())
