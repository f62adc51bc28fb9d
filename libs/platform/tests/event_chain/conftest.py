"""A shop with a history, its signers, and somebody who can write to its database."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest_asyncio
from libs.platform.tests.shop import (
    MakePurchase,
    NotePurchase,
    PurchaseNoted,
    count_purchase,
    make_purchase,
    note_purchase,
)
from libs.platform.tests.shop_store import Shop, job, order

from crm_platform.command import Receipt
from crm_platform.event_chain.checkpoint import CheckpointKeys, Seal
from crm_platform.event_chain.findings import Report
from crm_platform.event_chain.signer import Signer
from crm_platform.event_chain.verification import verify
from crm_platform.sealing import InstallationKey
from crm_platform.testing import SOME_TIME, recorded

LOG = "crm.shop"


class Vault:
    """A shop's store as its signer, its auditor and an intruder see it."""

    def __init__(self, shop: Shop, installation: InstallationKey) -> None:
        self.shop = shop
        self.keys = CheckpointKeys([installation])

    def signer(self, keys: CheckpointKeys | None = None, every_seconds: float = 60.0) -> Signer:
        return Signer(self.shop.events.store, LOG, keys or self.keys, every_seconds)

    def sign(self, keys: CheckpointKeys | None = None) -> None:
        signer = self.signer(keys)
        while signer.extend():
            pass

    def verify(self, *kept: Seal, keys: CheckpointKeys | None = None) -> Report:
        return verify(self.shop.uri, LOG, (keys or self.keys).trusted, kept)

    def intrude(self, sql: str, *params: Any) -> int:
        """As somebody who may do anything in the database; returns how many rows that touched."""
        with psycopg.connect(self.shop.uri) as connection:
            return connection.execute(sql.encode(), params).rowcount

    def rewrite(self, position: int, state: bytes) -> None:
        assert self.intrude("UPDATE store_events SET state = %s WHERE notification_id = %s", state, position) == 1

    def events(self) -> Sequence[dict[str, Any]]:
        return self.shop.rows("SELECT * FROM store_events ORDER BY notification_id")

    def checkpoints(self) -> Sequence[dict[str, Any]]:
        return self.shop.rows("SELECT * FROM event_checkpoints ORDER BY number")

    def store(self, *targets: UUID, times: int = 1) -> None:
        """For each stream, in one transaction: a purchase with its sealed customer, notes and private counts."""
        jobs = [job(make_purchase, MakePurchase(), order(target)) for target in targets]
        for _ in range(times):
            jobs += [job(kind, NotePurchase(), order(t)) for t in targets for kind in (note_purchase, count_purchase)]
        outcomes = self.shop.committer.commands(jobs)
        assert all(isinstance(outcome, Receipt) for outcome in outcomes.values()), outcomes

    def note(self, *targets: UUID, text: str = "gift") -> None:
        self.shop.committer.commands([job(note_purchase, NotePurchase(text=text), order(t)) for t in targets])

    def store_as_before(self, stream: UUID) -> None:
        """Two events of a release that wrote no links."""
        note = PurchaseNoted(occurred_at=SOME_TIME, text="old")
        events = [recorded(note, subject=stream, sequence=sequence) for sequence in (1, 2)]
        self.shop.events.store.append([self.shop.events.write(event) for event in events])


@pytest_asyncio.fixture
async def vault(shop: Shop, installation: InstallationKey) -> Vault:
    return Vault(shop, installation)


@pytest_asyncio.fixture
async def signed(vault: Vault) -> Vault:
    """Streams of one event and of several, under three checkpoints."""

    def fill() -> None:
        streams = [uuid4() for _ in range(4)]
        vault.store(*streams[:2])
        vault.note(uuid4(), uuid4())
        vault.sign()
        vault.store(*streams[2:])
        vault.sign()
        vault.note(*streams, uuid4())
        vault.sign()

    await asyncio.to_thread(fill)
    return vault
