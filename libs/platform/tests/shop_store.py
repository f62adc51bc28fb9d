"""The shop's event store on real PostgreSQL, and what it says when asked directly."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import psycopg
from libs.platform.tests.shop import EVENTS, MakePurchase, NotePurchase, make_purchase, note_purchase
from psycopg.rows import dict_row

from crm_events.topics import Topic
from crm_platform.command import Command, Order, Receipt
from crm_platform.event_store.application import EventStore
from crm_platform.event_store.committer import Committer, Job
from crm_platform.event_store.store import CommandStore
from crm_platform.event_store.subject_keys import KeyPool, SubjectKeys
from crm_platform.sealing import InstallationKey
from crm_platform.testing import SOME_TIME
from crm_platform.work import Handler


def order(target: UUID | None = None, **given: Any) -> Order:
    return Order(**{"id": uuid4(), "actor": "ada", "target": target or uuid4(), "now": SOME_TIME, **given})


def clients_order(target: UUID | None = None, fingerprint: bytes = b"f" * 32, **given: Any) -> Order:
    """An order with an id of the client's own."""
    return order(target, client_given=True, fingerprint=fingerprint, **given)


def job(handler: Handler, command: Command, given: Order) -> Job:
    return Job(handler, command, given, 100)


@dataclass
class Shop:
    """One process's event store."""

    uri: str = field(repr=False)
    topic: Topic
    events: EventStore
    subject_keys: SubjectKeys
    committer: Committer
    store: CommandStore

    async def make(self, target: UUID | None = None, **command: Any) -> Receipt:
        return await self.store.run(make_purchase, MakePurchase(**command), order(target))

    async def note(self, target: UUID, text: str = "gift") -> Receipt:
        return await self.store.run(note_purchase, NotePurchase(text=text), order(target))

    def rows(self, sql: str, *params: Any) -> list[dict[str, Any]]:
        """What PostgreSQL says, on a connection of the test's own."""
        with psycopg.connect(self.uri, row_factory=dict_row) as connection:
            return connection.execute(sql.encode(), params).fetchall()

    def stored(self) -> Sequence[dict[str, Any]]:
        return self.rows("SELECT *, xmin::text AS transaction FROM store_events ORDER BY notification_id")


@asynccontextmanager
async def open_shop(uri: str, topic: Topic, installation: InstallationKey, pool: KeyPool) -> AsyncIterator[Shop]:
    events = await asyncio.to_thread(EventStore, uri, EVENTS)
    keys = SubjectKeys(events.store, installation, pool)
    committer = Committer(events, keys, topic)
    store = CommandStore(committer)
    store.start()
    try:
        yield Shop(uri, topic, events, keys, committer, store)
    finally:
        await store.stop()
        await asyncio.to_thread(events.close)
