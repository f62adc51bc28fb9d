"""The parking lot: events that could not be applied, and those of the same key behind them (docs/adr/0011).

A key is parked from the first event that cannot be applied until an operator has resolved all that waits, in order:
tried again once the cause is mended, or discarded with a reason, which is recorded.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import orjson
from aiokafka import ConsumerRecord, TopicPartition

from crm_platform.delivery import Parked
from crm_platform.errors import NotFound
from crm_platform.kafka import Headers

SHOWN_EVENTS = 200
"""So many events of one key are shown, and tried again in one transaction."""
LISTED_KEYS = 1_000


@dataclass(frozen=True, slots=True)
class ParkedEvent:
    """One event in the lot, as it was read. `reason` is None where it only waits behind another.

    `position` and `previous` are None where the record did not prove its place.
    """

    topic: str
    partition: int
    offset: int
    key: str
    position: int | None
    previous: int | None
    event_id: str | None
    event_type: str | None
    reason: str | None
    parked_at: datetime
    timestamp: int
    record_key: bytes | None
    value: bytes | None
    headers: Headers

    @classmethod
    def of(cls, parked: Parked, now: datetime) -> "ParkedEvent":
        """What goes to the lot now."""
        inbound, reason = parked
        record, link = inbound.record, inbound.link
        return cls(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            key=inbound.key,
            position=link.position if link else None,
            previous=link.previous if link else None,
            event_id=inbound.event_id,
            event_type=inbound.type_name,
            reason=reason,
            parked_at=now,
            timestamp=record.timestamp,
            record_key=record.key,
            value=record.value,
            headers=record.headers,
        )

    @property
    def place(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)

    def record(self) -> ConsumerRecord:
        """The record as Kafka gave it."""
        return ConsumerRecord(
            topic=self.topic,
            partition=self.partition,
            offset=self.offset,
            timestamp=self.timestamp,
            timestamp_type=0,
            key=self.record_key,
            value=self.value,
            checksum=None,
            serialized_key_size=len(self.record_key or b""),
            serialized_value_size=len(self.value or b""),
            headers=tuple(self.headers),
        )

    def shown(self) -> dict[str, Any]:
        """For an operator. Personal data stays sealed as it is."""
        document, raw = _readable(self.value)
        return {
            "offset": self.offset,
            "position": self.position,
            "event_id": self.event_id,
            "event_type": self.event_type,
            "parked_at": self.parked_at.isoformat(),
            "reason": self.reason,
            "record": document,
            "raw": raw,
        }


@dataclass(frozen=True, slots=True)
class ParkedKey:
    """A key in the lot: how many events wait, and the first of them."""

    events: int
    first: ParkedEvent

    def shown(self, consumer: str) -> dict[str, Any]:
        first = self.first
        return {
            "consumer": consumer,
            "topic": first.topic,
            "partition": first.partition,
            "key": first.key,
            "events": self.events,
            "position": first.position,
            "event_id": first.event_id,
            "event_type": first.event_type,
            "reason": first.reason,
            "parked_at": first.parked_at.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class Retried:
    """How many events were applied, how many still wait, and why the first of those cannot be applied."""

    applied: int
    remaining: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class Discarded:
    discarded: int
    remaining: int


@dataclass(frozen=True, slots=True)
class LotSize:
    """How much is in a consumer's lot; `oldest` is when the first of it was parked."""

    keys: int
    events: int
    oldest: datetime | None


class ParkingLot(Protocol):
    """The parked events of one consumer, for those who resolve them."""

    consumer: str

    async def keys(self) -> Sequence[ParkedKey]:
        """The parked keys, the longest parked first, at most LISTED_KEYS."""
        ...

    async def events(self, topic: str, key: str) -> Sequence[ParkedEvent]:
        """The first SHOWN_EVENTS events of a key, in order; none where it is not parked."""
        ...

    async def retry(self, topic: str, key: str) -> Retried:
        """Apply what waits, in order, until all is applied or one cannot be; also while more comes in."""
        ...

    async def discard(self, topic: str, key: str, *, actor: str, reason: str, everything: bool) -> Discarded:
        """Give up the first event, or everything that waits; who did so and why is recorded with the event."""
        ...


def not_parked(consumer: str, topic: str, key: str) -> NotFound:
    return NotFound(f"Nothing of the key {key} of {topic} is parked by {consumer}.")


def _readable(value: bytes | None) -> tuple[Any, str | None]:
    try:
        return orjson.loads(value or b""), None
    except orjson.JSONDecodeError:
        return None, base64.b64encode(value or b"").decode()
