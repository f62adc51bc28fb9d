"""Parked events in MongoDB, beside the read models that could not take them (docs/adr/0011)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from aiokafka import TopicPartition

from crm_platform.delivery import Parked
from crm_platform.mongo import Database, Row, Session, blocking, ensure_collection
from crm_platform.parking import LISTED_KEYS, LotSize, ParkedEvent, ParkedKey

PARKED = "parked_events"
DISCARDED = "discarded_events"
_INDEXES: Mapping[str, list[tuple[str, int]]] = {
    "key": [("consumer", 1), ("topic", 1), ("key", 1), ("partition", 1), ("offset", 1)],
    "oldest": [("consumer", 1), ("parked_at", 1)],
}


class MongoParking:
    """The parked events of one consumer: documents `<consumer>/<topic>/<partition>/<offset>`."""

    def __init__(self, database: Database, consumer: str) -> None:
        self._consumer = consumer
        self._parked = database[PARKED]
        self._blocking = blocking(self._parked)
        self._discarded = database[DISCARDED]
        self._database = database

    async def prepare(self) -> None:
        await ensure_collection(self._database, PARKED, _INDEXES)
        await ensure_collection(self._database, DISCARDED, {"consumer": [("consumer", 1), ("discarded_at", 1)]})

    def park(self, parked: Sequence[Parked], now: datetime, session: Session) -> None:
        if parked:
            self._blocking.insert_many([self._row(ParkedEvent.of(each, now)) for each in parked], session=session)

    async def parked_keys(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, set[str]]:
        """The parked keys of these partitions; a partition without one is absent."""
        wanted = set(places)
        grouped = await self._parked.aggregate(
            [
                {"$match": {"consumer": self._consumer}},
                {"$group": {"_id": {"topic": "$topic", "partition": "$partition", "key": "$key"}}},
            ]
        ).to_list(None)
        keys: dict[TopicPartition, set[str]] = {}
        for row in grouped:
            place = TopicPartition(row["_id"]["topic"], row["_id"]["partition"])
            if place in wanted:
                keys.setdefault(place, set()).add(row["_id"]["key"])
        return keys

    async def first_positions(self) -> dict[TopicPartition, int]:
        """The position of the first parked event of each partition that has one; crafted records have none."""
        rows = await self._parked.aggregate(
            [
                {"$match": {"consumer": self._consumer, "position": {"$ne": None}}},
                {
                    "$group": {
                        "_id": {"topic": "$topic", "partition": "$partition"},
                        "position": {"$min": "$position"},
                    }
                },
            ]
        ).to_list(None)
        return {TopicPartition(row["_id"]["topic"], row["_id"]["partition"]): row["position"] for row in rows}

    async def holds_any(self, positions: Mapping[TopicPartition, int]) -> bool:
        """Whether an event at one of these positions is parked."""
        at = [
            {"topic": place.topic, "partition": place.partition, "position": position}
            for place, position in positions.items()
        ]
        return await self._parked.find_one({"consumer": self._consumer, "$or": at}, {"_id": 1}) is not None

    async def size(self) -> LotSize:
        rows = await self._parked.aggregate(
            [
                {"$match": {"consumer": self._consumer}},
                {
                    "$group": {
                        "_id": {"topic": "$topic", "key": "$key"},
                        "events": {"$sum": 1},
                        "oldest": {"$min": "$parked_at"},
                    }
                },
                {
                    "$group": {
                        "_id": None,
                        "keys": {"$sum": 1},
                        "events": {"$sum": "$events"},
                        "oldest": {"$min": "$oldest"},
                    }
                },
            ]
        ).to_list(None)
        return LotSize(rows[0]["keys"], rows[0]["events"], rows[0]["oldest"]) if rows else LotSize(0, 0, None)

    async def keys(self) -> list[ParkedKey]:
        rows = await self._parked.aggregate(
            [
                {"$match": {"consumer": self._consumer}},
                {"$sort": {"consumer": 1, "topic": 1, "key": 1, "partition": 1, "offset": 1}},
                {
                    "$group": {
                        "_id": {"topic": "$topic", "key": "$key"},
                        "events": {"$sum": 1},
                        "first": {"$first": "$$ROOT"},
                    }
                },
                {"$sort": {"first.parked_at": 1, "_id": 1}},
                {"$limit": LISTED_KEYS},
            ]
        ).to_list(None)
        return [ParkedKey(row["events"], _from_row(row["first"])) for row in rows]

    def events(self, topic: str, key: str, limit: int, session: Session | None = None) -> list[ParkedEvent]:
        """A key's first events, in order."""
        found = self._blocking.find(self._of(topic, key), session=session)
        return [_from_row(row) for row in found.sort([("partition", 1), ("offset", 1)]).limit(limit)]

    def count(self, topic: str, key: str, session: Session | None = None) -> int:
        return self._blocking.count_documents(self._of(topic, key), session=session)

    def places(self, topic: str, key: str) -> list[TopicPartition]:
        """The partitions in which the key is parked: one, but for records that were not written by a relay."""
        numbers = self._blocking.distinct("partition", self._of(topic, key))
        return [TopicPartition(topic, number) for number in sorted(numbers)]

    def take(self, events: Sequence[ParkedEvent], session: Session) -> None:
        """Take events out of the lot."""
        self._blocking.delete_many({"_id": {"$in": [self._id(event) for event in events]}}, session=session)

    def tell_reason(self, event: ParkedEvent, reason: str, session: Session) -> None:
        """Why the event cannot be applied, as last seen."""
        self._blocking.update_one({"_id": self._id(event)}, {"$set": {"reason": reason}}, session=session)

    def discard(
        self, events: Sequence[ParkedEvent], *, actor: str, reason: str, now: datetime, session: Session
    ) -> None:
        """Take events out of the lot for good; they are kept with who decided it, when and why."""
        ids = [self._id(event) for event in events]
        rows = self._blocking.find({"_id": {"$in": ids}}, session=session)
        decided = {"discarded_by": actor, "discard_reason": reason, "discarded_at": now}
        blocking(self._discarded).insert_many([{**row, **decided} for row in rows], session=session)
        self._blocking.delete_many({"_id": {"$in": ids}}, session=session)

    async def discarded(self, read_model: str) -> set[tuple[TopicPartition, int]]:
        """Partition and offset of each event that was given up, in whichever generation of that read model."""
        whichever = {"consumer": {"$regex": rf"^{re.escape(read_model)}(\.[0-9]+)?$"}}
        rows = await self._discarded.find(whichever, {"topic": 1, "partition": 1, "offset": 1}).to_list(None)
        return {(TopicPartition(row["topic"], row["partition"]), row["offset"]) for row in rows}

    async def drop(self) -> None:
        """Forget what is parked; what was discarded stays on record."""
        await self._parked.delete_many({"consumer": self._consumer})

    def _of(self, topic: str, key: str) -> dict[str, Any]:
        return {"consumer": self._consumer, "topic": topic, "key": key}

    def _id(self, event: ParkedEvent) -> str:
        return f"{self._consumer}/{event.topic}/{event.partition}/{event.offset}"

    def _row(self, event: ParkedEvent) -> Row:
        members = {name: getattr(event, name) for name in ParkedEvent.__slots__}
        headers = [[name, value] for name, value in event.headers]
        return {"_id": self._id(event), "consumer": self._consumer, **members, "headers": headers}


def _from_row(row: Row) -> ParkedEvent:
    members = {name: row[name] for name in ParkedEvent.__slots__ if name != "headers"}
    return ParkedEvent(**members, headers=[(name, value) for name, value in row["headers"]])
