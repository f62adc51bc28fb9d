"""Where spans go: the OpenTelemetry SDK, sending in batches over OTLP/HTTP. Imported only where tracing is on."""

from collections.abc import Callable
from threading import Thread
from typing import NamedTuple

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Tracer

SEND_WITHIN_SECONDS = 5.0
STOP_WITHIN_SECONDS = 2.0
"""An end is held up no longer by a receiver that is away; what it has not taken then is lost."""
QUEUE = 16_384
"""Spans that may wait; more are dropped, never waited for."""


class Sender(NamedTuple):
    tracer: Tracer
    stop: Callable[[], None]


def sending_to(endpoint: str, ratio: float, service: str, release: str, instance: str) -> Sender:
    """A tracer whose spans go to the OTLP receiver with that base URL. `ratio` of the traces begun here are kept."""
    exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=SEND_WITHIN_SECONDS)
    return through(BatchSpanProcessor(exporter, max_queue_size=QUEUE), ratio, service, release, instance)


def through(processor: SpanProcessor, ratio: float, service: str, release: str, instance: str) -> Sender:
    """A tracer whose spans go through that processor.

    It is nobody's global provider: libraries that would trace on their own account find none.
    """
    resource = Resource.create(
        {
            "service.namespace": "crm",
            "service.name": service,
            "service.version": release,
            "service.instance.id": instance,
        }
    )
    provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(ratio)), resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(processor)

    def stop() -> None:
        # The SDK's own bound is half a minute.
        stopping = Thread(target=provider.shutdown, name="tracing-stop", daemon=True)
        stopping.start()
        stopping.join(STOP_WITHIN_SECONDS)

    return Sender(provider.get_tracer("crm_platform", release), stop)
