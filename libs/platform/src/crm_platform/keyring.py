"""The keys of data subjects, as every service keeps them from crm.keys (docs/adr/0005).

The keys stay wrapped in the service's own database; the ones in use are cached. A key that is missing may only be late:
the ring is read to the topic's present end, and only then missing means erased.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import ClassVar, TypeVar
from uuid import UUID

from aiokafka import ConsumerRecord, TopicPartition
from cachetools import LRUCache, TTLCache
from pydantic import BaseModel
from pymongo import DeleteOne, ReplaceOne

from crm_events.event import Event, Sealed
from crm_events.topics import KEYS
from crm_platform import kafka, mongo
from crm_platform.consumer import Consumer
from crm_platform.crash_points import CrashPoint, passing
from crm_platform.cursor import Cursor
from crm_platform.delivery import APPLIED, Progress, Standing
from crm_platform.destroyed_keys import DestroyedKeys
from crm_platform.errors import Unavailable
from crm_platform.key_records import Absent, Destroyed, KeyRecords, WrappedKey
from crm_platform.logging import get_logger
from crm_platform.mongo_cursors import COLLECTION as CURSORS
from crm_platform.mongo_cursors import MongoCursors
from crm_platform.mongo_transactions import Transactions
from crm_platform.parking import LotSize
from crm_platform.sealing import InstallationKey, SealBrokenError, SealedBlock, SubjectKey
from crm_platform.wakeup import Wakeup

B = TypeVar("B", bound=BaseModel)
T = TypeVar("T")

log = get_logger(__name__)

COLLECTION = "keyring"
CACHED_KEYS = 50_000
CATCH_UP_SECONDS = 5.0
ERASED_SECONDS = 60.0
"""A key that is missing is looked for again after this: crm.keys may have lost it, and have been given it again."""


class Keyring:
    """Opens personal blocks at the edge."""

    def __init__(
        self, database: mongo.Database, installation: InstallationKey, bootstrap: str, consumer: str, applied: Wakeup
    ) -> None:
        self._collection = database[COLLECTION]
        self._cursors = MongoCursors(database, consumer)
        self._destroyed = DestroyedKeys(database)
        self.installation = installation
        self._bootstrap = bootstrap
        self._applied = applied
        self._cache: LRUCache[UUID, SubjectKey] = LRUCache(CACHED_KEYS)
        self._erased: TTLCache[UUID, bool] = TTLCache(CACHED_KEYS, ERASED_SECONDS)
        self._held = False

    def hold(self) -> None:
        """From now on nothing is opened, until `release`: the ring may be one that a backup has brought back."""
        self._held = True

    def release(self) -> None:
        self._held = False

    async def prefetch(self, keys: Iterable[UUID]) -> None:
        """Have these keys at hand; the ones that are erased stay missing, for a key never comes back.

        Raises KafkaError, MongoError or TimeoutError where it cannot be told whether a key is late or erased, and
        Unavailable while the ring is held.
        """
        missing = {key for key in keys if key not in self._cache and key not in self._erased}
        if missing and self._held:
            raise Unavailable("The service has not compared its keys with the destroyed ones yet.")
        if missing:
            missing -= await self._look_up(missing)
        if missing:
            await self.read_to_the_end()
            missing -= await self._look_up(missing)
            self._erased.update(dict.fromkeys(missing, True))

    async def _look_up(self, keys: set[UUID]) -> set[UUID]:
        rows = await self._collection.find({"_id": {"$in": [str(key) for key in keys]}}).to_list(None)
        found = {UUID(row["_id"]): row["wrapped"] for row in rows}
        self._cache.update({key: self.installation.unwrap(key, bytes(wrapped)) for key, wrapped in found.items()})
        return set(found)

    async def read_to_the_end(self) -> None:
        """Wait until the ring holds all that crm.keys held when this was called.

        Raises KafkaError, MongoError or TimeoutError.
        """
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

    def forget_for_good(self, keys: Collection[UUID]) -> None:
        """These keys are destroyed."""
        self.forget(keys)
        self._erased.update(dict.fromkeys(keys, True))

    async def destroyed(self, keys: Iterable[UUID]) -> set[UUID]:
        """Those of the keys that the ring knows to be destroyed: it holds them no more, and never takes them again."""
        return await self._destroyed.of(keys)

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
        """Many blocks with one look-up; None for a block that is absent or erased. Raises Unavailable."""
        return await self._each_opened(blocks, lambda key, block: key.open(block, kind))

    async def open_all_json(self, blocks: Sequence[SealedBlock | None]) -> list[bytes | None]:
        """Like `open_all`, each block as the JSON object that was sealed."""
        return await self._each_opened(blocks, SubjectKey.open_json)

    async def _each_opened(
        self, blocks: Sequence[SealedBlock | None], opened: Callable[[SubjectKey, SealedBlock], T]
    ) -> list[T | None]:
        keys = await self._at_hand({block.key for block in blocks if block is not None})
        return [None if block is None else _opened_or_none(keys[block.key], block, opened) for block in blocks]

    async def _at_hand(self, ids: Iterable[str]) -> dict[str, SubjectKey | None]:
        """The keys with those ids; None for one that is erased, or cannot be looked up now."""
        # All blocks of a contact have one key, so a key is looked for once, not once for each block.
        wanted = {id_: UUID(id_) for id_ in ids}
        try:
            await self.prefetch(wanted.values())
        except (*kafka.TRANSIENT, mongo.MongoError, SealBrokenError) as away:
            log.warning("keys_not_looked_up", exc_info=away)
        return {id_: self._cache.get(key) for id_, key in wanted.items()}


def _opened_or_none(
    key: SubjectKey | None, block: SealedBlock, opened: Callable[[SubjectKey, SealedBlock], T]
) -> T | None:
    """A block that does not open spoils nobody's page: it shows as absent, and the log names its event."""
    if key is None:
        return None
    try:
        return opened(key, block)
    except SealBrokenError as broken:
        log.error("seal_broken", event_id=block.event, exc_info=broken)
        return None


def _key_id(block: Sealed | SealedBlock) -> UUID:
    return block.key if isinstance(block.key, UUID) else _uuid(block.key)


_uuid = lru_cache(maxsize=4096)(UUID)
"""All blocks of a contact have one key."""


class KeyringFiller(Consumer):
    """Reads crm.keys into the service's keyring."""

    transient: ClassVar[tuple[type[Exception], ...]] = (*kafka.TRANSIENT, mongo.MongoError)

    def __init__(
        self, name: str, database: mongo.Database, keyring: Keyring, bootstrap: str, instance: str, applied: Wakeup
    ) -> None:
        super().__init__(name, (KEYS,), bootstrap, instance)
        self._database = database
        self._keyring = keyring
        self._records = KeyRecords(keyring.installation)
        self._kept = MongoCursors(database, name)
        self._destroyed = DestroyedKeys(database)
        self._transactions = Transactions(database, f"{name}@{instance}")
        self._applied = applied

    async def prepare(self) -> None:
        await self._transactions.open()
        await mongo.ensure_collection(self._database, CURSORS, {"consumer": [("consumer", 1)]})
        await mongo.ensure_collection(self._database, COLLECTION, {})
        await self._destroyed.prepare()

    async def standing(self, places: Iterable[TopicPartition]) -> Standing:
        return Standing(await self._kept.load(places))

    async def apply(
        self, records: Sequence[ConsumerRecord], standing: Standing, because: str | None = None
    ) -> Progress:
        """A record that holds no key of this installation is set aside: no event was ever sealed with it."""
        progress, changes = Progress(standing), _Changes()
        for record in records:
            cursor = progress.cursor(record)
            try:
                if because is not None:
                    raise SealBrokenError(because)
                changes.take(self._records.read(record))
            except SealBrokenError as refusal:
                progress.refuse(record, cursor, str(refusal))
            else:
                progress.move(record, cursor, APPLIED)

        def work(session: mongo.Session) -> None:
            self._kept.move(progress.before, progress.cursors, session)
            self._destroyed.add(changes.destroyed, session)
            writes = changes.writes(self._destroyed.among(changes.wrapped, session) if changes.wrapped else set())
            if writes:
                mongo.blocking(self._database[COLLECTION]).bulk_write(writes, session=session)

        await self._transactions.run(work)
        passing(CrashPoint.KEYRING_AFTER_COMMIT)
        self._keyring.forget(changes.absent)
        self._keyring.forget_for_good(changes.destroyed)
        self._applied.set()
        return progress

    async def lot_size(self) -> LotSize:
        """Nothing is parked here: no key waits for another."""
        await mongo.ping(self._database.client)
        return LotSize(0, 0, None)


@dataclass(slots=True)
class _Changes:
    """What a batch of records makes of the ring: for each key, what the last record says; destroyed is for ever."""

    wrapped: dict[UUID, WrappedKey] = field(default_factory=dict)
    absent: set[UUID] = field(default_factory=set)
    destroyed: dict[UUID, datetime] = field(default_factory=dict)

    def take(self, read: WrappedKey | Destroyed | Absent) -> None:
        self.wrapped.pop(read.key, None)
        self.absent.discard(read.key)
        match read:
            case Destroyed(key, at):
                self.destroyed.setdefault(key, at)
            case Absent(key):
                self.absent.add(key)
            case WrappedKey(key):
                self.wrapped[key] = read

    def writes(self, destroyed_before: AbstractSet[UUID]) -> list[ReplaceOne[mongo.Row] | DeleteOne]:
        gone = self.absent | self.destroyed.keys()
        kept = [each for key, each in self.wrapped.items() if key not in self.destroyed.keys() | destroyed_before]
        return [*(DeleteOne({"_id": str(key)}) for key in gone), *map(_replacement, kept)]


def _replacement(kept: WrappedKey) -> ReplaceOne[mongo.Row]:
    row = {"_id": str(kept.key), "owner": kept.owner, "wrapped": kept.wrapped}
    return ReplaceOne({"_id": row["_id"]}, row, upsert=True)
