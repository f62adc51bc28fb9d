"""Keeps a read model up to date, effectively once (docs/adr/0004).

A batch's documents are loaded in one query per collection, all its events are folded in memory, and the changed
documents and the cursors are written in one transaction. A write from a consumer that has lost its partition fails.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, NamedTuple

import msgspec
from aiokafka import ConsumerRecord, TopicPartition
from pymongo import InsertOne, ReplaceOne

from crm_events.envelope import Recorded, UnknownEventError, UnreadableEventError
from crm_events.event import Event
from crm_events.registry import Registry
from crm_platform import kafka, mongo
from crm_platform.consumer import CannotApplyError, Consumer, Cursors, Progress
from crm_platform.cursor import Arrival, Cursor, arrival
from crm_platform.inbound import Inbound, passed, read, type_of
from crm_platform.mongo_cursors import COLLECTION as CURSORS
from crm_platform.mongo_cursors import MongoCursors
from crm_platform.projection import Document, Fold, Place, Projection
from crm_platform.wakeup import Wakeup


class Target(NamedTuple):
    """A document that an event changes."""

    document: type[Document]
    id: str


class Step(NamedTuple):
    """An event on its way into documents."""

    inbound: Inbound
    folds: list[tuple[Fold, Target]]


Unfolded = UnknownEventError | UnreadableEventError | CannotApplyError
Documents = dict[Target, Document]


def collection_name(projection: Projection, document: type[Document]) -> str:
    """Where a read model keeps its documents of one kind: a new version has collections of its own."""
    return f"{projection.identity}.{document.collection}"


def to_row(document: Document) -> mongo.Row:
    """A document as MongoDB keeps it."""
    row: mongo.Row = msgspec.to_builtins(document, builtin_types=(datetime,))
    row["_id"] = row.pop("id")
    return row


def from_row(row: Mapping[str, Any], kind: type[Document]) -> Document:
    """A document as it was kept; raises msgspec.ValidationError if it is not of that kind."""
    return msgspec.convert({**row, "id": row["_id"]}, kind)


class Projector(Consumer):
    """Runs one projection."""

    transient: ClassVar[tuple[type[Exception], ...]] = (*kafka.TRANSIENT, mongo.MongoError)

    def __init__(
        self,
        projection: Projection,
        registry: Registry,
        database: mongo.Database,
        bootstrap: str,
        instance: str,
        applied: Wakeup,
    ) -> None:
        super().__init__(bootstrap, instance)
        self.name = projection.identity
        self.topics = projection.topics
        self._projection = projection
        self._registry = registry
        self._database = database
        self._cursors_kept = MongoCursors(database, projection.identity)
        self._applied = applied
        self._handled = {event.type_name() for event in projection.folds}

    async def prepare(self) -> None:
        """Collections and indexes exist before the first transaction."""
        await mongo.ensure_collection(self._database, CURSORS, {"consumer": [("consumer", 1)]})
        for document in self._projection.documents():
            indexes = {"_".join(name for name, _ in index.fields): list(index.fields) for index in document.indexes}
            await mongo.ensure_collection(self._database, collection_name(self._projection, document), indexes)

    async def load_cursors(self, partitions: Iterable[TopicPartition]) -> Cursors:
        return await self._cursors_kept.load(partitions)

    async def apply(self, records: Sequence[ConsumerRecord], cursors: Mapping[TopicPartition, Cursor]) -> Progress:
        steps = [self._step(record) for record in records]
        wanted = {target for step in steps if isinstance(step, Step) for _, target in step.folds}
        stored = await self._load(wanted)
        documents, progress = self._fold(records, steps, stored, cursors)
        if progress.cursors:
            await self._write(documents, stored, cursors, progress.cursors)
            self._applied.set()
        return progress

    # -- from records to steps

    def _step(self, record: ConsumerRecord) -> Step | Unfolded:
        type_name = type_of(record)
        if type_name is not None and type_name not in self._handled and self._registry.find(type_name):
            return UnknownEventError(type_name)
        try:
            inbound = read(record, self._registry)
        except (UnknownEventError, UnreadableEventError) as refusal:
            return refusal
        place = Place(record.topic, record.partition)
        folds = self._projection.folds.get(type(inbound.event.data), ())
        try:
            return Step(inbound, [(f, Target(f.document, f.key(inbound.event, place))) for f in folds])
        except Exception as failure:  # noqa: BLE001 - a key that cannot be told stops its partition, as a fold does
            return CannotApplyError(record, self._reason(inbound.event, failure))

    # -- folding, in memory

    def _fold(
        self,
        records: Sequence[ConsumerRecord],
        steps: Sequence[Step | Unfolded],
        stored: Documents,
        cursors: Mapping[TopicPartition, Cursor],
    ) -> tuple[Documents, Progress]:
        documents: Documents = {}
        progress = Progress(cursors)
        for record, step in zip(records, steps, strict=True):
            if progress.is_stopped(record):
                continue
            cursor = progress.cursor(record)
            if isinstance(step, UnknownEventError):
                self._pass(record, cursor, step, progress)
            elif isinstance(step, UnreadableEventError):
                progress.stop(CannotApplyError(record, str(step)))
            elif isinstance(step, CannotApplyError):
                progress.stop(step)
            else:
                self._fold_step(record, step, documents, stored, progress)
        return documents, progress

    @staticmethod
    def _pass(record: ConsumerRecord, cursor: Cursor, unknown: UnknownEventError, progress: Progress) -> None:
        try:
            progress.move(record, passed(cursor, record, unknown), "skipped")
        except UnreadableEventError as refusal:
            progress.stop(CannotApplyError(record, str(refusal)))

    def _fold_step(
        self, record: ConsumerRecord, step: Step, documents: Documents, stored: Documents, progress: Progress
    ) -> None:
        cursor, inbound = progress.cursor(record), step.inbound
        match arrival(cursor, inbound.position, inbound.previous):
            case Arrival.REPEAT:
                progress.move(record, cursor, Arrival.REPEAT.value)
            case Arrival.GAP:
                progress.move(record, cursor.passed_over(), Arrival.GAP.value)
            case Arrival.NEXT:
                try:
                    changed = self._changed(inbound.event, step.folds, documents, stored)
                except Exception as failure:  # noqa: BLE001 - whatever a fold raises stops its partition, not the others
                    progress.stop(CannotApplyError(record, self._reason(inbound.event, failure)))
                    return
                documents.update(changed)
                moved = cursor.applied(inbound.position, inbound.event.time)
                if not step.folds:
                    moved = moved.with_skipped(inbound.event.data.type_name())
                progress.move(record, moved, "applied" if step.folds else "skipped")

    def _reason(self, event: Recorded[Event], failure: Exception) -> str:
        return f"{type(failure).__name__} in {self.name} at event {event.id}"

    def _changed(
        self,
        event: Recorded[Event],
        folds: Sequence[tuple[Fold, Target]],
        documents: Documents,
        stored: Documents,
    ) -> Documents:
        """What the event makes of its documents, all or nothing."""
        changed: Documents = {}
        for fold, target in folds:
            before = changed.get(target) or documents.get(target) or stored.get(target)
            changed[target] = self._projection.apply(fold, before, event)
        return changed

    # -- the store

    async def _load(self, targets: Iterable[Target]) -> Documents:
        by_kind: dict[type[Document], list[str]] = {}
        for target in targets:
            by_kind.setdefault(target.document, []).append(target.id)
        loaded = await asyncio.gather(*(self._load_kind(kind, ids) for kind, ids in by_kind.items()))
        return {target: document for documents in loaded for target, document in documents.items()}

    async def _load_kind(self, kind: type[Document], ids: list[str]) -> Documents:
        rows = await self._collection(kind).find({"_id": {"$in": ids}}).to_list(None)
        return {Target(kind, row["_id"]): from_row(row, kind) for row in rows}

    async def _write(
        self, documents: Documents, stored: Documents, before: Mapping[TopicPartition, Cursor], after: Cursors
    ) -> None:
        writes: dict[type[Document], list[InsertOne[mongo.Row] | ReplaceOne[mongo.Row]]] = {}
        for target, document in documents.items():
            known = stored.get(target)
            if document is known:
                continue
            row = {**to_row(document), "_id": target.id}
            write = InsertOne(row) if known is None else ReplaceOne({"_id": target.id}, row)
            writes.setdefault(target.document, []).append(write)

        async def work(session: mongo.Session) -> None:
            await self._cursors_kept.move(before, after, session)
            for kind, operations in writes.items():
                await self._collection(kind).bulk_write(operations, ordered=False, session=session)

        await mongo.in_transaction(self._database.client, work)

    def _collection(self, kind: type[Document]) -> mongo.Collection:
        return self._database[collection_name(self._projection, kind)]
