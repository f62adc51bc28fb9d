"""The platform's own parts as the benchmarks run them: constructed here and nowhere else."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import ConsumerRecord, TopicPartition

from crm_events import REGISTRY
from crm_events.topics import Topic
from crm_platform import kafka, mongo
from crm_platform.authenticity import Authenticator
from crm_platform.delivery import Progress
from crm_platform.event_store.application import EventStore
from crm_platform.event_store.committer import Committer
from crm_platform.event_store.store import CommandStore
from crm_platform.event_store.subject_keys import SubjectKeys
from crm_platform.generations import Generation
from crm_platform.inbound import RecordReader
from crm_platform.key_pool import KafkaKeyPool
from crm_platform.mongo_transactions import Transactions
from crm_platform.projection import Projection
from crm_platform.projection_store import ProjectionStore
from crm_platform.projector import Projector
from crm_platform.rebuild.filler import Filled, Offsets
from crm_platform.rebuild.lanes import Lanes, lanes
from crm_platform.relay import Relay
from crm_platform.sealing import InstallationKey
from crm_platform.service import EventStoreDefinition
from crm_platform.settings import ServiceSettings
from crm_platform.wakeup import Wakeup

_POLL = 0.005

AUTHENTICATOR = Authenticator(InstallationKey(b"b" * 32))
"""Relay and readers of a benchmark share a key of their own."""


def open_store(postgres_uri: str) -> EventStore:
    return EventStore(postgres_uri, REGISTRY)


@asynccontextmanager
async def command_store(settings: ServiceSettings, events: EventStoreDefinition) -> AsyncIterator[CommandStore]:
    """The way in to a service's event store as the service has it, once Kafka holds keys to seal with."""
    store = await asyncio.to_thread(open_store, settings.event_store_uri())
    installation = InstallationKey(settings.installation_key.get_secret_value())
    pool = KafkaKeyPool(settings.kafka_bootstrap, installation, events.context)
    commands = CommandStore(Committer(store, SubjectKeys(store.store, installation, pool), events.topic))
    filling = asyncio.create_task(pool.run())
    try:
        while not pool.ready:
            if filling.done():
                filling.result()
            await asyncio.sleep(_POLL)
        commands.start()
        yield commands
        await commands.stop()
    finally:
        filling.cancel()
        await asyncio.gather(filling, return_exceptions=True)
        await asyncio.to_thread(store.close)


def relay(store: EventStore, postgres_uri: str, bootstrap: str, topic: Topic) -> Relay:
    return Relay(store, postgres_uri, bootstrap, topic, AUTHENTICATOR)


def reader(projection: Projection) -> RecordReader:
    return RecordReader(REGISTRY, projection.folds, AUTHENTICATOR)


class Filling:
    """Fills a generation as a rebuild does: without indexes, which are built in the end."""

    def __init__(self, store: ProjectionStore, filling: Lanes) -> None:
        self._store = store
        self._filling = filling

    async def fill(self, goals: Offsets, filled: Filled) -> None:
        await self._filling.fill(goals, filled)
        await self._store.prepare()


@asynccontextmanager
async def filling(projection: Projection, database: mongo.Database, bootstrap: str) -> AsyncIterator[Filling]:
    """What fills a read model anew, from the beginning of its topics."""
    generation = Generation(projection)
    store = ProjectionStore(generation, database, Transactions(database, "bench").run)
    await store.prepare(indexed=False)
    async with lanes(generation, database, reader(projection), bootstrap) as started:
        yield Filling(store, started)


async def end_offsets(bootstrap: str, topic: Topic) -> Offsets:
    """Where the topic's partitions end."""
    async with kafka.reader(bootstrap) as client:
        ends = await kafka.end_offsets(client, topic.name, topic.partitions)
    return {TopicPartition(topic.name, partition): end for partition, end in ends.items()}


class TimedProjector(Projector):
    """A projector that knows how much it has applied, and since when: joining its group is not counted."""

    def __init__(self, projection: Projection, database: mongo.Database, bootstrap: str) -> None:
        super().__init__(projection, REGISTRY, database, AUTHENTICATOR, bootstrap, "0", Wakeup())
        self.records = 0
        self._began: float | None = None
        self._ended = 0.0

    @property
    def seconds(self) -> float:
        """From the first batch as read to the last one as committed."""
        return 0.0 if self._began is None else self._ended - self._began

    async def apply(self, records: Sequence[ConsumerRecord], *rest: Any, **named: Any) -> Progress:
        if self._began is None:
            self._began = time.perf_counter()
        progress = await super().apply(records, *rest, **named)
        self._ended = time.perf_counter()
        self.records += len(records)
        return progress
