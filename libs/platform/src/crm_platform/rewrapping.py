"""Wrapping all keys with the installation's present key, once it has another (docs/adr/0019)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple
from uuid import UUID

from aiokafka import AIOKafkaProducer
from pymongo import UpdateOne

from crm_platform import mongo
from crm_platform.authenticity import Authenticator
from crm_platform.event_store.key_ledger import PAGE, KeyLedger, StoredKey
from crm_platform.key_publisher import pages, publish_keys, publish_marks
from crm_platform.keyring import COLLECTION
from crm_platform.sealing import InstallationKey, SealBrokenError

Told = Callable[[int], None]


class Left(NamedTuple):
    """Keys that another than the present key has wrapped: of this service's subjects, and in its keyring.

    `unreadable` are those in the keyring that no accepted key has wrapped.
    """

    stored: int
    ring: int
    unreadable: int


class Rewrapping:
    """One service's keys, page by page. Whatever was done before an interruption is passed over when it goes on."""

    def __init__(self, installation: InstallationKey, database: mongo.Database, ledger: KeyLedger | None) -> None:
        self._installation = installation
        self._ring = database[COLLECTION]
        self._ledger = ledger

    async def stored_keys(self, producer: AIOKafkaProducer, owner: str, told: Told) -> None:
        """The keys of the service's subjects, in its event store and on crm.keys."""
        if self._ledger is None:
            return
        done = 0
        async for page in pages(self._ledger.stored()):
            before = [each for each in page if self._is_left(each)]
            after = [self._rewrapped(each) for each in before]
            # Published first: one that is stored and not published would be passed over the next time.
            await publish_keys(producer, self._ledger, owner, after)
            await asyncio.to_thread(self._ledger.rewrap, before, after)
            done += len(page)
            told(done)

    async def marks(self, producer: AIOKafkaProducer) -> None:
        """The marks of destroyed keys are proved anew: what a former key would prove destroys nothing."""
        if self._ledger is None:
            return
        async for page in pages(self._ledger.destroyed()):
            await asyncio.to_thread(self._ledger.publish_again, page)
        await publish_marks(producer, self._ledger, Authenticator(self._installation))

    async def ring(self) -> None:
        """What is left in the keyring: keys of other services that are on their way, and such as nobody was given."""
        async for page in self._ring_pages():
            left = [each for each in page if self._is_left(each) and self._is_readable(each)]
            writes = [
                UpdateOne(
                    {"_id": str(each.key), "wrapped": each.wrapped},
                    {"$set": {"wrapped": self._rewrapped(each).wrapped}},
                )
                for each in left
            ]
            if writes:
                await self._ring.bulk_write(writes, ordered=False)

    async def left(self) -> Left:
        stored = ring = unreadable = 0
        if self._ledger is not None:
            async for page in pages(self._ledger.stored()):
                stored += sum(map(self._is_left, page))
        async for page in self._ring_pages():
            left = [each for each in page if self._is_left(each)]
            readable = sum(map(self._is_readable, left))
            ring, unreadable = ring + readable, unreadable + len(left) - readable
        return Left(stored, ring, unreadable)

    def _is_left(self, stored: StoredKey) -> bool:
        return self._installation.own(stored.key, stored.wrapped) is None

    def _is_readable(self, stored: StoredKey) -> bool:
        try:
            self._installation.unwrap(stored.key, stored.wrapped)
        except SealBrokenError:
            return False
        return True

    def _rewrapped(self, stored: StoredKey) -> StoredKey:
        return StoredKey(stored.key, self._installation.wrap(self._installation.unwrap(stored.key, stored.wrapped)))

    async def _ring_pages(self) -> AsyncIterator[list[StoredKey]]:
        last = ""
        while rows := await self._ring.find({"_id": {"$gt": last}}).sort("_id", 1).limit(PAGE).to_list(None):
            yield [StoredKey(UUID(row["_id"]), bytes(row["wrapped"])) for row in rows]
            last = rows[-1]["_id"]
