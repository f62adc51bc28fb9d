"""Reading records: from Kafka's bytes to an event at its place."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from aiokafka import ConsumerRecord

from crm_events.adapter import AdapterRecord
from crm_events.envelope import Recorded, UnknownEventError, UnreadableEventError, from_document
from crm_events.event import Event
from crm_events.registry import Registry
from crm_events.topics import MAX_RECORD_BYTES
from crm_platform import kafka
from crm_platform.cursor import Arrival, Cursor, arrival

POSITION_DIGITS = 18
"""As many as a 64-bit store holds without fail."""
STRUCTURED_PREFIX = "application/cloudevents"
BINARY_ATTRIBUTES = (
    "id", "source", "type", "subject", "time", "sequence", "correlationid", "causationid", "actor",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Inbound:
    """An event as it came in. `position` and `previous` are 0 where the topic carries none (an adapter's)."""

    record: ConsumerRecord
    event: Recorded[Event]
    position: int
    previous: int


def type_of(record: ConsumerRecord) -> str | None:
    """The event's type as its headers repeat it, so that a reader need not parse what it does not handle."""
    return kafka.header(record.headers, "ce_type")


def read(record: ConsumerRecord, registry: Registry) -> Inbound:
    """Read a record in structured or in binary mode.

    Raises UnknownEventError for a type that is not known, UnreadableEventError for anything else that is wrong with it.
    """
    event = from_document(_document(record), registry)
    return Inbound(record, event, *_place(record))


def read_adapter_record(record: ConsumerRecord, registry: Registry) -> Inbound:
    """As `read`, for a topic that others write: no positions, the size of every door, and adapters' own types only."""
    size = len(record.value or b"")
    if size > MAX_RECORD_BYTES:
        raise UnreadableEventError(f"the record has {size} bytes, over the {MAX_RECORD_BYTES} that are taken")
    event = from_document(_document(record), registry)
    if not isinstance(event.data, AdapterRecord):
        raise UnknownEventError(event.data.type_name())
    return Inbound(record, event, position=0, previous=0)


def _document(record: ConsumerRecord) -> Mapping[str, Any]:
    if record.value is None:
        raise UnreadableEventError("the record has no value; only crm.keys knows tombstones")
    try:
        value = orjson.loads(record.value)
    except orjson.JSONDecodeError as malformed:
        raise UnreadableEventError(
            f"the value is not JSON in UTF-8: {malformed.msg} at byte {malformed.pos}"
        ) from malformed
    content_type = (kafka.header(record.headers, "content-type") or "").lower()
    if content_type.startswith(STRUCTURED_PREFIX):
        if not isinstance(value, dict):
            raise UnreadableEventError("a structured CloudEvents record is a JSON object")
        return value
    headers = ((name, kafka.header(record.headers, f"ce_{name}")) for name in BINARY_ATTRIBUTES)
    return {name: text for name, text in headers if text is not None} | {"data": value}


def _place(record: ConsumerRecord) -> tuple[int, int]:
    """The event's position in its store, and that of the one before it in the partition."""
    return _number(record, "ce_position"), _number(record, "ce_previous")


def _number(record: ConsumerRecord, name: str) -> int:
    text = kafka.header(record.headers, name) or ""
    if not (text.isascii() and text.isdecimal() and len(text) <= POSITION_DIGITS):
        raise UnreadableEventError(f"the header {name} is not a number of at most {POSITION_DIGITS} digits")
    return int(text)


def passed(cursor: Cursor, record: ConsumerRecord, unknown: UnknownEventError) -> Cursor:
    """An event of a type that is not handled is counted by name; its place is still checked and taken.

    Raises UnreadableEventError where the place cannot be read.
    """
    position, previous = _place(record)
    match arrival(cursor, position, previous):
        case Arrival.NEXT:
            at = datetime.fromtimestamp(record.timestamp / 1000, tz=UTC)
            return cursor.applied(position, at).with_skipped(unknown.type_name)
        case Arrival.GAP:
            return cursor.passed_over()
        case Arrival.REPEAT:
            return cursor
