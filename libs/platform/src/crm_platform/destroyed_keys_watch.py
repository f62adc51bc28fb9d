"""Sees to it that a process uses no key that is destroyed, whatever a backup has brought back (docs/adr/0019)."""

import asyncio
from datetime import datetime
from uuid import UUID

import psycopg
from eventsourcing.persistence import PersistenceError

from crm_platform import kafka, mongo
from crm_platform.backoff import Backoff
from crm_platform.destroyed_keys import DestroyedKeys
from crm_platform.event_store.key_ledger import KeyLedger
from crm_platform.event_store.subject_keys import SubjectKeys
from crm_platform.keyring import Keyring
from crm_platform.logging import get_logger

LOOK_SECONDS = 1.0

log = get_logger(__name__)


class DestroyedKeysWatch:
    """Ready once the process has compared what it holds with all that crm.keys held when the process started.

    `own` are the keys of the service's event store, if it has one. They are held until then, as the keyring is.
    """

    name = "destroyed-keys"
    alive = True

    def __init__(self, database: mongo.Database, keyring: Keyring, own: tuple[SubjectKeys, KeyLedger] | None) -> None:
        self._destroyed = DestroyedKeys(database)
        self._keyring = keyring
        self._own = own
        self._since: datetime | None = None
        self._done: set[UUID] = set()
        self.ready = False

    async def run(self) -> None:
        """Look once a second, for ever. What is away is waited for."""
        backoff = Backoff(most=2.0)
        while True:
            try:
                await self._settle()
                backoff.succeeded()
                await asyncio.sleep(LOOK_SECONDS)
                await self.look()
            except (*kafka.TRANSIENT, mongo.MongoError, PersistenceError, psycopg.Error) as away:
                log.warning("destroyed_keys_not_seen", exc_info=away)
                await backoff.wait()

    async def _settle(self) -> None:
        if self.ready:
            return
        await self._keyring.read_to_the_end()
        await self.look()
        self._keyring.release()
        if self._own is not None:
            self._own[0].release()
        self.ready = True

    async def look(self) -> None:
        """Forget the keys that were destroyed of late, and destroy again what a backup has brought back."""
        found, since = await self._destroyed.noticed(self._since)
        # Whoever was looking a key up while it was destroyed may have cached it after that: it is dropped next time.
        self._keyring.forget_for_good(found)
        if self._own is not None and found:
            await self._destroy_own(*self._own, found)
        self._since = since

    async def _destroy_own(self, keys: SubjectKeys, ledger: KeyLedger, found: dict[UUID, datetime]) -> None:
        keys.forget_keys(found.keys())
        new = {key: at for key, at in found.items() if key not in self._done}
        if new:
            brought_back = await asyncio.to_thread(ledger.destroy_again, new)
            if brought_back:
                keys.forget()
                log.error("destroyed_keys_were_back", keys=brought_back)
        self._done = set(found)
