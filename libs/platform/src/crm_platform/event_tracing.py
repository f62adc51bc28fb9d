"""The trace of an event on its way: from the store through the relay and Kafka to each consumer (docs/tracing.md).

Functions of plain values: stored bytes, headers, names, places. Off, each costs one comparison.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from time import time_ns
from types import TracebackType
from typing import Final, Protocol, Self

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Tracer
from opentelemetry.util.types import AttributeValue

from crm_platform import kafka, tracing
from crm_platform.kafka import Headers
from crm_platform.tracing import TRACEPARENT, parent_of, spanning, written

MOST_LINKS: Final = 100
"""A batch's span links to so many events at most."""

_ATTRIBUTE = b',"traceparent":"'
_DATA = b',"data":'
_LENGTH = 55


class Record(Protocol):
    """A record of Kafka, as far as tracing looks at it."""

    @property
    def topic(self) -> str: ...

    @property
    def partition(self) -> int: ...

    @property
    def offset(self) -> int: ...

    @property
    def headers(self) -> Headers: ...


# -- the relay


def traceparent_of(state: bytes) -> bytes | None:
    """The trace context in a stored event's envelope, without parsing it; None where it has none.

    It is looked for before `data`, where all members are texts: a text holds no bare quote, so what looks like the
    attribute is the attribute.
    """
    start = state.find(_ATTRIBUTE, 0, state.find(_DATA))
    if start < 0:
        return None
    start += len(_ATTRIBUTE)
    return state[start : start + _LENGTH]


def publishing(topic: str, records: Iterable[Headers], published_before: int = 0) -> AbstractContextManager[None]:
    """In the trace of each event among these records: its publication, until Kafka has acknowledged them all.

    Those up to the position `published_before` are published again, which joins no old trace.
    """
    tracer = tracing.tracer()
    return nullcontext() if tracer is None else _publishing(tracer, topic, records, published_before)


@contextmanager
def _publishing(tracer: Tracer, topic: str, records: Iterable[Headers], published_before: int) -> Iterator[None]:
    began = time_ns()
    yield
    for headers in records:
        position = int(kafka.header(headers, "ce_position") or 0)
        parent = _sampled_parent(headers)
        if parent is None or 0 < position <= published_before:
            continue
        attributes = {**_messaging(topic, "send"), "cloudevents.event_type": kafka.header(headers, "ce_type") or ""}
        if position:
            attributes["crm.position"] = position
        tracer.start_span(f"publish {topic}", parent, SpanKind.PRODUCER, attributes, start_time=began).end()


# -- consumers


class Processing:
    """A batch of records on its way through a consumer. This one, for a process that does not trace, does nothing."""

    def traceparent(self, record: Record) -> str | None:  # noqa: ARG002 - for the one that traces
        """The context in which a record is applied, for the events that a policy stores in reaction to it.

        None where it belongs to no trace, or is read again: a replay joins no old trace.
        """
        return None

    def applied(self, records: Iterable[Record]) -> None:
        """These records of the batch were applied, and that is committed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """The batch is done with."""


NOT_TRACED: Final = Processing()


def processing(consumer: str, records: Sequence[Record], ends: Mapping[tuple[str, int], int]) -> Processing:
    """The span of a batch, and in the trace of each event that is applied live a span that names the consumer.

    `ends` is where each partition ended when it was assigned: a record before its partition's end is read again or
    late, and joins no trace; nor does one of a partition that is not among them.
    """
    tracer = tracing.tracer()
    return NOT_TRACED if tracer is None else _Batch(tracer, consumer, records, ends)


class _Batch(Processing):
    """A record's own span begins with the batch and ends when `applied` names it; else it is never sent."""

    def __init__(
        self, tracer: Tracer, consumer: str, records: Sequence[Record], ends: Mapping[tuple[str, int], int]
    ) -> None:
        self._tracer = tracer
        self._consumer = consumer
        self._began = time_ns()
        self._parents = {_place(r): parent for r in records if (parent := _live_parent(r, ends)) is not None}
        self._spans: dict[tuple[str, int, int], Span] = {}
        contexts = [trace.get_current_span(parent).get_span_context() for parent in self._parents.values()]
        attributes = {
            **_messaging(", ".join(sorted({record.topic for record in records})), "process"),
            "messaging.consumer.group.name": consumer,
            "messaging.batch.message_count": len(records),
            "crm.live_traced_records": len(self._parents),
        }
        # Events of one command share its context.
        links = [Link(context) for context in list({c.span_id: c for c in contexts}.values())[:MOST_LINKS]]
        self._span = spanning(tracer, f"process {consumer}", SpanKind.CONSUMER, attributes, Context(), links)

    def traceparent(self, record: Record) -> str | None:
        parent = self._parents.get(_place(record))
        return None if parent is None else written(self._span_of(record, parent).get_span_context())

    def applied(self, records: Iterable[Record]) -> None:
        for record in records:
            parent = self._parents.get(_place(record))
            if parent is not None:
                self._span_of(record, parent).end()

    def _span_of(self, record: Record, parent: Context) -> Span:
        known = self._spans.get(_place(record))
        if known is not None:
            return known
        attributes = {
            **_messaging(record.topic, "process"),
            "messaging.consumer.group.name": self._consumer,
            "messaging.destination.partition.id": str(record.partition),
            "messaging.kafka.offset": record.offset,
        }
        links = [Link(self._context)]
        started = self._tracer.start_span(
            f"apply {self._consumer}", parent, SpanKind.CONSUMER, attributes, links, start_time=self._began
        )
        self._spans[_place(record)] = started
        return started

    def __enter__(self) -> Self:
        self._context = self._span.__enter__().get_span_context()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._span.__exit__(kind, error, where)


def _live_parent(record: Record, ends: Mapping[tuple[str, int], int]) -> Context | None:
    end = ends.get((record.topic, record.partition))
    return None if end is None or record.offset < end else _sampled_parent(record.headers)


def _place(record: Record) -> tuple[str, int, int]:
    return record.topic, record.partition, record.offset


# -- headers


def _sampled_parent(headers: Headers) -> Context | None:
    """The context that a record carries, if it is well formed and its trace is kept."""
    text = kafka.header(headers, TRACEPARENT)
    if text is None:
        return None
    parent = parent_of(text)
    context = trace.get_current_span(parent).get_span_context()
    return parent if context.is_valid and context.trace_flags.sampled else None


def _messaging(topic: str, operation: str) -> dict[str, AttributeValue]:
    return {
        "messaging.system": "kafka",
        "messaging.destination.name": topic,
        "messaging.operation.type": operation,
    }
