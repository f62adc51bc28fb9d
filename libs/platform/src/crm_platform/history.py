"""The events behind a read model's documents, kept as they were published (docs/adr/0017).

A row is one event: `_id` its id, `value` its document with the personal block sealed. An event's id follows from its
stream and sequence, so whoever knows a stream and how long it is finds its events by their ids, and no index is needed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

import orjson
from aiokafka import ConsumerRecord, TopicPartition
from bson.binary import UUID_SUBTYPE, Binary

from crm_events.envelope import Recorded, event_id
from crm_events.event import Event
from crm_events.registry import Registry
from crm_platform import mongo
from crm_platform.inbound import Inbound, Link
from crm_platform.upcasts import read_event

HISTORY_INDEXES = {"correlation": [("correlation", 1)]}
LOADED_AT_ONCE = 2_000
_PLACED = {"topic": 1, "partition": 1, "position": 1}

Streams = Mapping[str, int]
"""How many events each stream has, by its id."""


def history_row(inbound: Inbound) -> mongo.Row:
    """An event as it is kept. It has been applied, so it is readable."""
    event, record = inbound.applied_event, inbound.record
    return {
        "_id": Binary(event.id.bytes, UUID_SUBTYPE),
        "correlation": event.correlation,
        "topic": record.topic,
        "partition": record.partition,
        "position": inbound.link.position if inbound.link else 0,
        "value": record.value,
    }


class Placed(NamedTuple):
    """Where an event stands: in which partition, and its position in the store of its service."""

    partition: TopicPartition
    position: int


class History:
    """Reads the events that one generation of a read model has kept."""

    def __init__(self, collection: mongo.Collection, registry: Registry) -> None:
        self._collection = collection
        self._registry = registry

    async def of_streams(self, streams: Streams) -> list[Inbound]:
        """All events of these streams, each stream's in order."""
        wanted = [event_id(UUID(stream), n) for stream, length in streams.items() for n in range(1, length + 1)]
        return await self.events(wanted)

    async def events(self, ids: Sequence[UUID]) -> list[Inbound]:
        """The events with these ids, in that order; one that is not kept is left out."""
        found: dict[bytes, Inbound] = {}
        for chunk in _chunks(ids):
            rows = await self._collection.find({"_id": {"$in": chunk}}).to_list(None)
            found |= {bytes(row["_id"]): self._read(row) for row in rows}
        return [found[id_.bytes] for id_ in ids if id_.bytes in found]

    async def places(self, ids: Sequence[UUID]) -> dict[UUID, Placed]:
        """Where these events stand; one that is not kept is left out."""
        found: dict[UUID, Placed] = {}
        for chunk in _chunks(ids):
            rows = await self._collection.find({"_id": {"$in": chunk}}, _PLACED).to_list(None)
            for row in rows:
                place = TopicPartition(row["topic"], row["partition"])
                found[UUID(bytes=bytes(row["_id"]))] = Placed(place, row["position"])
        return found

    async def of_story(self, correlation: str, limit: int) -> list[Inbound]:
        """The events of one story, at most so many, in no order."""
        rows = await self._collection.find({"correlation": correlation}, limit=limit).to_list(None)
        return [self._read(row) for row in rows]

    def _read(self, row: mongo.Row) -> Inbound:
        event = read_event(orjson.loads(row["value"]), self._registry)
        return Inbound(_record(row, event), str(event.subject), Link(row["position"], 0), event)


def _chunks(ids: Sequence[UUID]) -> Iterator[list[Binary]]:
    for first in range(0, len(ids), LOADED_AT_ONCE):
        yield [Binary(id_.bytes, UUID_SUBTYPE) for id_ in ids[first : first + LOADED_AT_ONCE]]


def _record(row: mongo.Row, event: Recorded[Event]) -> ConsumerRecord:
    """The record as far as folds look at it."""
    return ConsumerRecord(
        topic=row["topic"],
        partition=row["partition"],
        offset=-1,
        timestamp=int(event.time.timestamp() * 1000),
        timestamp_type=0,
        key=None,
        value=row["value"],
        checksum=None,
        serialized_key_size=0,
        serialized_value_size=len(row["value"]),
        headers=(),
    )


def events_of(inbounds: Iterable[Inbound]) -> list[Recorded[Event]]:
    """The events themselves."""
    return [inbound.applied_event for inbound in inbounds]
