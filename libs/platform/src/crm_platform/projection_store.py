"""Where a read model is kept: its documents, its cursors and its parked events, written in one transaction."""

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

import bson
from aiokafka import TopicPartition
from bson.raw_bson import RawBSONDocument
from pymongo import InsertOne, ReplaceOne

from crm_platform import mongo
from crm_platform.crash_points import CrashPoint, passing
from crm_platform.delivery import Progress, Standing, deliver
from crm_platform.folding import Folding, Rows, Target, rows_of
from crm_platform.generations import Generation
from crm_platform.history import HISTORY_INDEXES, history_row
from crm_platform.inbound import Inbound
from crm_platform.mongo_cursors import COLLECTION as CURSORS
from crm_platform.mongo_cursors import MongoCursors
from crm_platform.mongo_parking import MongoParking
from crm_platform.projection import Document

MAX_DOCUMENT_BYTES = 1024 * 1024
"""Far above what a document should be (16 kB), far below what MongoDB takes (16 MB)."""


class DocumentRefusedError(Exception):
    """What came of a batch cannot be stored, and trying again will not help. The message holds no values."""


T = TypeVar("T")


class RunsTransactions(Protocol):
    """Runs work in one transaction, and answers what the work does; see `mongo.transacted`."""

    def __call__(self, work: mongo.Work[T], /) -> Awaitable[T]: ...


class ProjectionStore:
    """The collections of one generation of a read model, and how transactions are run there."""

    def __init__(self, generation: Generation, database: mongo.Database, transactions: RunsTransactions) -> None:
        self.generation = generation
        self._database = database
        self._transactions = transactions
        self.cursors = MongoCursors(database, generation.identity)
        self.parking = MongoParking(database, generation.identity)

    async def prepare(self, *, indexed: bool = True) -> None:
        """Collections and indexes exist before the first transaction.

        What is filled first of all may get its indexes later: building one is cheaper than adding to it each time.
        """
        await mongo.ensure_collection(self._database, CURSORS, {"consumer": [("consumer", 1)]})
        await self.parking.prepare()
        for name, indexes in self._indexes().items():
            await mongo.ensure_collection(self._database, name, indexes if indexed else {})

    def _indexes(self) -> dict[str, mongo.Indexes]:
        """Those of each collection of the generation."""
        indexes: dict[str, mongo.Indexes] = {
            self.generation.collection_name(document): {
                "_".join(name for name, _ in index.fields): list(index.fields) for index in document.indexes
            }
            for document in self.generation.projection.documents()
        }
        if self.generation.projection.keeps_history:
            indexes[self.generation.history_name] = HISTORY_INDEXES
        return indexes

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

    async def apply(self, inbounds: Sequence[Inbound], standing: Standing, because: str | None = None) -> Progress:
        """Fold a batch into the documents, and store them with parked events and cursors.

        `because` parks what the batch holds, for that reason. Raises CursorMovedError, and DocumentRefusedError where a
        document cannot be stored at all.
        """
        folding = Folding(self.generation.projection, inbounds)
        folding.use(await self.load(folding.targets()))
        progress = Progress(standing)
        deliver(inbounds, progress, folding.effect, because)
        if progress.cursors:
            await self._store(folding, progress)
        return progress

    async def _store(self, folding: Folding, progress: Progress) -> None:
        writes, history = self._writes(folding), self._history(folding)

        def work(session: mongo.Session) -> None:
            self.cursors.move(progress.before, progress.cursors, session)
            passing(CrashPoint.PROJECTOR_IN_TRANSACTION)
            self._write(writes, history, session)
            self.parking.park(progress.parked, datetime.now(UTC), session)

        passing(CrashPoint.PROJECTOR_BEFORE_TRANSACTION)
        await self.in_transaction(work)
        passing(CrashPoint.PROJECTOR_AFTER_COMMIT)

    def write_documents(self, folding: Folding, session: mongo.Session) -> None:
        """Store what was folded within somebody's transaction; raises DocumentRefusedError."""
        self._write(self._writes(folding), self._history(folding), session)

    async def in_transaction(self, work: mongo.Work[T]) -> T:
        """Raises DocumentRefusedError where MongoDB refuses what is written."""
        try:
            return await self._transactions(work)
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

    def _history(self, folding: Folding) -> list[mongo.Row]:
        if not self.generation.projection.keeps_history:
            return []
        return [history_row(inbound) for inbound in folding.applied]

    def _write(
        self, writes: Mapping[type[Document], Sequence[Any]], history: Sequence[mongo.Row], session: mongo.Session
    ) -> None:
        for kind, operations in writes.items():
            mongo.blocking(self._collection(kind)).bulk_write(operations, ordered=False, session=session)
        if history:
            kept = mongo.blocking(self._database[self.generation.history_name])
            kept.insert_many(history, ordered=False, session=session)

    def _collection(self, kind: type[Document]) -> mongo.Collection:
        return self._database[self.generation.collection_name(kind)]


def _by_kind(targets: Iterable[Target]) -> dict[type[Document], list[str]]:
    found: dict[type[Document], list[str]] = {}
    for target in targets:
        found.setdefault(target.document, []).append(target.id)
    return found


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
