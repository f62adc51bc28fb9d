"""Cursors kept beside a read model, moved by compare-and-set in the transaction that writes it (docs/adr/0004)."""

from collections.abc import Iterable, Mapping

from aiokafka import TopicPartition
from pymongo import InsertOne, ReplaceOne, UpdateOne
from pymongo.errors import BulkWriteError

from crm_platform.cursor import Cursor, CursorMovedError, Cursors
from crm_platform.mongo import Database, Row, Session, blocking

COLLECTION = "cursors"
_DUPLICATE_KEY = 11000


class MongoCursors:
    """The cursors of one consumer: documents `<consumer>/<topic>/<partition>`."""

    def __init__(self, database: Database, consumer: str) -> None:
        self._collection = database[COLLECTION]
        self._consumer = consumer

    def _id(self, place: TopicPartition) -> str:
        return f"{self._consumer}/{place.topic}/{place.partition}"

    async def load(self, places: Iterable[TopicPartition]) -> Cursors:
        by_id = {self._id(place): place for place in places}
        rows = await self._collection.find({"_id": {"$in": list(by_id)}}).to_list(None)
        return {by_id[row["_id"]]: _from_row(row) for row in rows}

    async def all(self) -> Cursors:
        """Every cursor of the consumer, whoever moves it."""
        rows = await self._collection.find({"consumer": self._consumer}).to_list(None)
        return {TopicPartition(row["topic"], row["partition"]): _from_row(row) for row in rows}

    def move(self, before: Mapping[TopicPartition, Cursor], after: Cursors, session: Session) -> None:
        """Replace each cursor if it still is as it was, all in one call; raises CursorMovedError if one is not."""
        if not after:
            return
        moves = [self._move(before[place], self._to_row(place, cursor)) for place, cursor in after.items()]
        try:
            moved = blocking(self._collection).bulk_write(moves, session=session)
        except BulkWriteError as failure:
            if any(error["code"] == _DUPLICATE_KEY for error in failure.details["writeErrors"]):
                raise CursorMovedError(self._consumer) from failure
            raise
        if moved.matched_count + moved.inserted_count != len(moves):
            raise CursorMovedError(self._consumer)

    def _move(self, before: Cursor, row: Row) -> InsertOne[Row] | ReplaceOne[Row]:
        if not before.stored:
            return InsertOne(row)
        expected = {"_id": row["_id"], "next_offset": before.next_offset, "resolved": before.resolved}
        return ReplaceOne(expected, row)

    def resolve(self, place: TopicPartition, session: Session) -> None:
        """An operator resolves parked events of the partition: every batch under way there finds its guard failed."""
        blocking(self._collection).update_one({"_id": self._id(place)}, {"$inc": {"resolved": 1}}, session=session)

    async def fence(self, beginnings: Mapping[TopicPartition, int]) -> None:
        """Whoever writes to these partitions finds the guard failed, also where nothing was written yet.

        `beginnings` are the partitions' first offsets.
        """
        await self._collection.bulk_write([self._fence(place, first) for place, first in beginnings.items()])

    def fence_in(self, places: Iterable[TopicPartition], session: Session) -> Cursors:
        """The same within somebody's transaction, for partitions that have cursors; returns them."""
        wanted = {self._id(place): place for place in places}
        blocking(self._collection).update_many(
            {"_id": {"$in": list(wanted)}}, {"$inc": {"resolved": 1}}, session=session
        )
        rows = blocking(self._collection).find({"_id": {"$in": list(wanted)}}, session=session)
        return {wanted[row["_id"]]: _from_row(row) for row in rows}

    def _fence(self, place: TopicPartition, beginning: int) -> UpdateOne:
        row = self._to_row(place, Cursor(next_offset=beginning))
        anew = {name: value for name, value in row.items() if name not in ("_id", "resolved")}
        return UpdateOne({"_id": row["_id"]}, {"$inc": {"resolved": 1}, "$setOnInsert": anew}, upsert=True)

    async def drop(self) -> None:
        """Forget every cursor of the consumer."""
        await self._collection.delete_many({"consumer": self._consumer})

    def _to_row(self, place: TopicPartition, cursor: Cursor) -> Row:
        return {
            "_id": self._id(place),
            "consumer": self._consumer,
            "topic": place.topic,
            "partition": place.partition,
            "next_offset": cursor.next_offset,
            "position": cursor.position,
            # A dot or a dollar in a field's name is no good to MongoDB, so the types are values.
            "skipped": [[type_name, count] for type_name, count in cursor.skipped.items()],
            "gap": cursor.gap,
            "recorded_at": cursor.recorded_at,
            "resolved": cursor.resolved,
            "read_to": cursor.read_to,
        }


def _from_row(row: Row) -> Cursor:
    return Cursor(
        next_offset=row["next_offset"],
        position=row["position"],
        skipped=dict(row["skipped"]),
        gap=row["gap"],
        recorded_at=row["recorded_at"],
        resolved=row["resolved"],
        read_to=row["read_to"],
        stored=True,
    )
