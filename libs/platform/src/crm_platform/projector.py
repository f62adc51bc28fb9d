"""Keeps a read model up to date, effectively once (docs/adr/0004).

A batch's documents are loaded in one query per collection, all its events are folded in memory, and the changed
documents and the cursors are written in one transaction. A write from a consumer that has lost its partition fails,
and so does one to a generation that is no longer the live one (docs/adr/0016).
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar

from aiokafka import ConsumerRecord, TopicPartition

from crm_events.registry import Registry
from crm_platform import kafka, mongo
from crm_platform.authenticity import Authenticator
from crm_platform.consumer import CannotStoreError, Consumer
from crm_platform.delivery import Progress, Standing
from crm_platform.generations import Generation, Generations
from crm_platform.inbound import RecordReader
from crm_platform.mongo_transactions import Transactions
from crm_platform.parking import LotSize
from crm_platform.projection import Projection
from crm_platform.projection_store import DocumentRefusedError, ProjectionStore
from crm_platform.wakeup import Wakeup


class Projector(Consumer):
    """Runs one projection."""

    transient: ClassVar[tuple[type[Exception], ...]] = (*kafka.TRANSIENT, mongo.MongoError)

    def __init__(
        self,
        projection: Projection,
        registry: Registry,
        database: mongo.Database,
        authenticator: Authenticator,
        bootstrap: str,
        instance: str,
        applied: Wakeup,
    ) -> None:
        super().__init__(projection.identity, projection.topics, bootstrap, instance)
        self._reader = RecordReader(registry, projection.folds, authenticator)
        self._database = database
        self._transactions = Transactions(database, f"{self.name}@{instance}")
        self._generations = Generations(projection, database)
        self._store = self._store_of(Generation(projection))
        self._applied = applied

    async def prepare(self) -> None:
        await self._transactions.open()
        await self._generations.prepare()
        await self._write_to(await self._generations.writable())

    async def _take_live(self) -> None:
        """Write to the live generation, once that may be written to."""
        live = await self._generations.writable()
        if live != self._store.generation:
            await self._write_to(live)

    async def _write_to(self, generation: Generation) -> None:
        """Make sure of its collections, once: a rebalance asks for the cursors only, and readers wait for it."""
        store = self._store_of(generation)
        await store.prepare()
        self._store = store

    def _store_of(self, generation: Generation) -> ProjectionStore:
        return ProjectionStore(generation, self._database, self._transactions.run)

    async def standing(self, places: Iterable[TopicPartition]) -> Standing:
        """Of the live generation: who switches to another one moves the cursors of the one before, so we come here.

        Writers are kept still first and cursors are moved then; so it counts what is seen after the cursors were read.
        """
        wanted = list(places)
        while True:
            await self._take_live()
            standing = await self._store.standing(wanted)
            if await self._generations.is_writable(self._store.generation):
                return standing

    async def apply(
        self, records: Sequence[ConsumerRecord], standing: Standing, because: str | None = None
    ) -> Progress:
        try:
            progress = await self._store.apply([self._reader.read(record) for record in records], standing, because)
        except DocumentRefusedError as refusal:
            raise CannotStoreError(str(refusal)) from refusal
        self._applied.set()
        return progress

    async def lot_size(self) -> LotSize:
        return await self._store.parking.size()
