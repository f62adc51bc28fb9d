"""Keeps a read model up to date, effectively once (docs/adr/0004).

A batch's documents are loaded in one query per collection, all its events are folded in memory, and the changed
documents and the cursors are written in one transaction. A write from a consumer that has lost its partition fails.
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar

from aiokafka import ConsumerRecord, TopicPartition

from crm_events.registry import Registry
from crm_platform import kafka, mongo
from crm_platform.authenticity import Authenticator
from crm_platform.consumer import CannotStoreError, Consumer
from crm_platform.delivery import Progress, Standing, deliver
from crm_platform.folding import Folding
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
        self._projection = projection
        self._reader = RecordReader(registry, projection.folds, authenticator)
        self._transactions = Transactions(database, f"{self.name}@{instance}")
        self._store = ProjectionStore(projection, database, self._transactions.run)
        self._applied = applied

    async def prepare(self) -> None:
        await self._transactions.open()
        await self._store.prepare()

    async def standing(self, places: Iterable[TopicPartition]) -> Standing:
        return await self._store.standing(places)

    async def apply(
        self, records: Sequence[ConsumerRecord], standing: Standing, because: str | None = None
    ) -> Progress:
        folding = Folding(self._projection, [self._reader.read(record) for record in records])
        folding.use(await self._store.load(folding.targets()))
        progress = Progress(standing)
        deliver(folding.inbounds, progress, folding.effect, because)
        if progress.cursors:
            try:
                await self._store.write(folding, progress)
            except DocumentRefusedError as refusal:
                raise CannotStoreError(str(refusal)) from refusal
            self._applied.set()
        return progress

    async def lot_size(self) -> LotSize:
        return await self._store.parking.size()
