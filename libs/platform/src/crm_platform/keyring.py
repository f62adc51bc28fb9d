"""The keys of data subjects, as every service keeps them from crm.keys (docs/adr/0005).

The keys stay wrapped in the service's own database; the ones in use are cached. A key that is missing may only be late:
the ring is read to the topic's present end, and only then missing means erased.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, TypeVar
from uuid import UUID

import orjson
from aiokafka import ConsumerRecord, TopicPartition
from cachetools import LRUCache
from pydantic import BaseModel
from pymongo import DeleteOne, ReplaceOne

from crm_events.event import Event, Sealed
from crm_events.topics import KEYS
from crm_platform import kafka, mongo
from crm_platform.consumer import Consumer, Cursors, Progress
from crm_platform.cursor import Cursor
from crm_platform.logging import get_logger
from crm_platform.mongo_cursors import COLLECTION as CURSORS
from crm_platform.mongo_cursors import MongoCursors
from crm_platform.sealing import InstallationKey, SealBrokenError, SealedBlock, SubjectKey
from crm_platform.wakeup import Wakeup

B = TypeVar("B", bound=BaseModel)

log = get_logger(__name__)

COLLECTION = "keyring"
CACHED_KEYS = 50_000
CATCH_UP_SECONDS = 5.0


class Keyring:
    """Opens personal blocks at the edge."""

    def __init__(
        self, database: mongo.Database, installation: InstallationKey, bootstrap: str, consumer: str, applied: Wakeup
    ) -> None:
        self._collection = database[COLLECTION]
        self._cursors = MongoCursors(database, consumer)
        self._installation = installation
        self._bootstrap = bootstrap
        self._applied = applied
        self._cache: LRUCache[UUID, SubjectKey] = LRUCache(CACHED_KEYS)
        self._erased: LRUCache[UUID, bool] = LRUCache(CACHED_KEYS)

    async def prefetch(self, keys: Iterable[UUID]) -> None:
        """Have these keys at hand; the ones that are erased stay missing, for a key never comes back.

        Raises KafkaError, MongoError or TimeoutError where it cannot be told whether a key is late or erased.
        """
        missing = {key for key in keys if key not in self._cache and key not in self._erased}
        if missing:
            missing -= await self._look_up(missing)
        if missing:
            await self._catch_up()
            missing -= await self._look_up(missing)
            self._erased.update(dict.fromkeys(missing, True))

    async def _look_up(self, keys: set[UUID]) -> set[UUID]:
        rows = await self._collection.find({"_id": {"$in": [str(key) for key in keys]}}).to_list(None)
        found = {UUID(row["_id"]): row["wrapped"] for row in rows}
        self._cache.update({key: self._installation.unwrap(key, bytes(wrapped)) for key, wrapped in found.items()})
        return set(found)

    async def _catch_up(self) -> None:
        """Wait until the ring holds all that crm.keys held when this was called; raises TimeoutError."""
        async with kafka.reader(self._bootstrap) as client:
            ends = await kafka.end_offsets(client, KEYS.name, KEYS.partitions)
        async with asyncio.timeout(CATCH_UP_SECONDS):
            while not await self._has_read(ends):
                await self._applied.wait(0.05)

    async def _has_read(self, ends: Mapping[int, int]) -> bool:
        cursors = await self._cursors.all()
        return all(
            end == 0 or cursors.get(TopicPartition(KEYS.name, partition), Cursor()).next_offset >= end
            for partition, end in ends.items()
        )

    def forget(self, keys: Iterable[UUID]) -> None:
        for key in keys:
            self._cache.pop(key, None)

    def opened(self, block: Sealed | SealedBlock, kind: type[B]) -> B | None:
        """The block in the clear, None where its key is erased. Its key was prefetched; raises SealBrokenError."""
        key = self._cache.get(_key_id(block))
        return None if key is None else key.open(block, kind)

    def opened_event(self, event: Event) -> Event:
        """The event with its personal block open, or as it is where the key is erased."""
        block = event.personal
        if not isinstance(block, Sealed):
            return event
        opened = self.opened(block, event.personal_class())
        return event if opened is None else event.with_personal(opened)

    async def open_all(self, blocks: Sequence[SealedBlock | None], kind: type[B]) -> list[B | None]:
        """Many blocks with one look-up; None for a block that is absent or erased."""
        try:
            await self.prefetch(_key_id(block) for block in blocks if block is not None)
        except (*kafka.TRANSIENT, mongo.MongoError, SealBrokenError) as away:
            log.warning("keys_not_looked_up", exc_info=away)
        return [None if block is None else self._opened_or_none(block, kind) for block in blocks]

    def _opened_or_none(self, block: SealedBlock, kind: type[B]) -> B | None:
        """A block that does not open spoils nobody's page: it shows as absent, and the log names its event."""
        try:
            return self.opened(block, kind)
        except SealBrokenError as broken:
            log.error("seal_broken", event_id=block.event, exc_info=broken)
            return None


def _key_id(block: Sealed | SealedBlock) -> UUID:
    return block.key if isinstance(block.key, UUID) else UUID(block.key)


class KeyringFiller(Consumer):
    """Reads crm.keys into the service's keyring."""

    transient: ClassVar[tuple[type[Exception], ...]] = (*kafka.TRANSIENT, mongo.MongoError)

    def __init__(
        self, name: str, database: mongo.Database, keyring: Keyring, bootstrap: str, instance: str, applied: Wakeup
    ) -> None:
        super().__init__(bootstrap, instance)
        self.name = name
        self.topics = (KEYS,)
        self._database = database
        self._keyring = keyring
        self._kept = MongoCursors(database, name)
        self._applied = applied

    async def prepare(self) -> None:
        await mongo.ensure_collection(self._database, CURSORS, {"consumer": [("consumer", 1)]})
        await mongo.ensure_collection(self._database, COLLECTION, {})

    async def load_cursors(self, partitions: Iterable[TopicPartition]) -> Cursors:
        return await self._kept.load(partitions)

    async def apply(self, records: Sequence[ConsumerRecord], cursors: Mapping[TopicPartition, Cursor]) -> Progress:
        progress = Progress(cursors)
        writes = []
        for record in records:
            writes.append(_write(record))
            progress.move(record, progress.cursor(record), "applied")

        async def work(session: mongo.Session) -> None:
            await self._kept.move(cursors, progress.cursors, session)
            await self._database[COLLECTION].bulk_write(writes, session=session)

        await mongo.in_transaction(self._database.client, work)
        self._keyring.forget(UUID(record.key.decode()) for record in records if record.value is None)
        self._applied.set()
        return progress


def _write(record: ConsumerRecord) -> ReplaceOne[mongo.Row] | DeleteOne:
    """A key as it is kept; a tombstone destroys it."""
    key = record.key.decode()
    if record.value is None:
        return DeleteOne({"_id": key})
    document = orjson.loads(record.value)
    row = {"_id": key, "owner": document["owner"], "wrapped": bytes.fromhex(document["wrapped"])}
    return ReplaceOne({"_id": key}, row, upsert=True)
