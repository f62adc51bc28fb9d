"""Where a read model is kept: its documents, its cursors and its parked events, written in one transaction."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import bson
from aiokafka import TopicPartition
from bson.raw_bson import RawBSONDocument
from pymongo import InsertOne, ReplaceOne

from crm_platform import mongo
from crm_platform.crash_points import CrashPoint, passing
from crm_platform.delivery import Progress, Standing
from crm_platform.folding import Folding, Rows, Target, rows_of
from crm_platform.mongo_cursors import COLLECTION as CURSORS
from crm_platform.mongo_cursors import MongoCursors
from crm_platform.mongo_parking import MongoParking
from crm_platform.projection import Document, Projection

MAX_DOCUMENT_BYTES = 1024 * 1024
"""Far above what a document should be (16 kB), far below what MongoDB takes (16 MB)."""


class DocumentRefusedError(Exception):
    """What came of a batch cannot be stored, and trying again will not help. The message holds no values."""


RunsTransactions = Callable[[mongo.Work[None]], Awaitable[None]]


class ProjectionStore:
    """One read model's collections in the service's database, and how transactions are run there."""

    def __init__(self, projection: Projection, database: mongo.Database, transactions: RunsTransactions) -> None:
        self.projection = projection
        self._database = database
        self._transactions = transactions
        self.cursors = MongoCursors(database, projection.identity)
        self.parking = MongoParking(database, projection.identity)

    async def prepare(self) -> None:
        """Collections and indexes exist before the first transaction."""
        await mongo.ensure_collection(self._database, CURSORS, {"consumer": [("consumer", 1)]})
        await self.parking.prepare()
        for document in self.projection.documents():
            indexes = {"_".join(name for name, _ in index.fields): list(index.fields) for index in document.indexes}
            await mongo.ensure_collection(self._database, collection_name(self.projection, document), indexes)

    async def standing(self, places: Iterable[TopicPartition]) -> Standing:
        """Cursors and parked keys of these partitions. The cursors are read first: whoever changes the parked keys
        after that moves a cursor, and the guard of the next batch tells.
        """
        wanted = list(places)
        cursors = await self.cursors.load(wanted)
        return Standing(cursors, await self.parking.parked_keys(wanted))

    async def load(self, targets: Iterable[Target]) -> Rows:
        """The stored rows of these documents; one that is not stored is absent."""
        found = await asyncio.gather(*(self._loaded(kind, ids) for kind, ids in _by_kind(targets).items()))
        return {target: row for rows in found for target, row in rows.items()}

    async def _loaded(self, kind: type[Document], ids: list[str]) -> Rows:
        rows = await self._collection(kind).find({"_id": {"$in": ids}}).to_list(None)
        return {Target(kind, row["_id"]): row for row in rows}

    def load_in(self, session: mongo.Session, targets: Iterable[Target]) -> Rows:
        """The same within somebody's transaction."""
        return {
            Target(kind, row["_id"]): row
            for kind, ids in _by_kind(targets).items()
            for row in mongo.blocking(self._collection(kind)).find({"_id": {"$in": ids}}, session=session)
        }

    async def write(self, folding: Folding, progress: Progress) -> None:
        """Store a batch: documents, parked events and cursors.

        Raises CursorMovedError, and DocumentRefusedError where a document cannot be stored at all.
        """
        writes = self._writes(folding)

        def work(session: mongo.Session) -> None:
            self.cursors.move(progress.before, progress.cursors, session)
            passing(CrashPoint.PROJECTOR_IN_TRANSACTION)
            self._write(writes, session)
            self.parking.park(progress.parked, datetime.now(UTC), session)

        passing(CrashPoint.PROJECTOR_BEFORE_TRANSACTION)
        await self.in_transaction(work)
        passing(CrashPoint.PROJECTOR_AFTER_COMMIT)

    def write_documents(self, folding: Folding, session: mongo.Session) -> None:
        """Store what was folded within somebody's transaction; raises DocumentRefusedError."""
        self._write(self._writes(folding), session)

    async def in_transaction(self, work: mongo.Work[None]) -> None:
        """Raises DocumentRefusedError where MongoDB refuses what is written."""
        try:
            await self._transactions(work)
        except Exception as failure:
            if mongo.refused(failure):
                raise DocumentRefusedError(f"MongoDB refuses what came of it: {type(failure).__name__}") from failure
            raise

    def _writes(self, folding: Folding) -> dict[type[Document], list[Any]]:
        writes: dict[type[Document], list[Any]] = {}
        for target, row in rows_of(folding.changed.items()).items():
            encoded = RawBSONDocument(_encoded(row))
            stored = folding.is_stored(target)
            write: Any = ReplaceOne({"_id": target.id}, encoded) if stored else InsertOne(encoded)
            writes.setdefault(target.document, []).append(write)
        return writes

    def _write(self, writes: Mapping[type[Document], Sequence[Any]], session: mongo.Session) -> None:
        for kind, operations in writes.items():
            mongo.blocking(self._collection(kind)).bulk_write(operations, ordered=False, session=session)

    def _collection(self, kind: type[Document]) -> mongo.Collection:
        return self._database[collection_name(self.projection, kind)]


def _by_kind(targets: Iterable[Target]) -> dict[type[Document], list[str]]:
    found: dict[type[Document], list[str]] = {}
    for target in targets:
        found.setdefault(target.document, []).append(target.id)
    return found


def collection_name(projection: Projection, document: type[Document]) -> str:
    """Where a read model keeps its documents of one kind: a new version has collections of its own."""
    return f"{projection.identity}.{document.collection}"


def _encoded(row: dict[str, Any]) -> bytes:
    try:
        encoded = bson.encode(row)
    except Exception as failure:
        if not mongo.refused(failure):
            raise
        raise DocumentRefusedError(f"a document holds what MongoDB cannot keep: {type(failure).__name__}") from failure
    if len(encoded) > MAX_DOCUMENT_BYTES:
        raise DocumentRefusedError(f"a document would have {len(encoded)} bytes; {MAX_DOCUMENT_BYTES} are kept")
    return encoded
