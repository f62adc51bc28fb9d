"""F28, F29: poison at a live projector and a live policy; it is retried by a mended release while the key stays hot."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from libs.platform.tests.kafka_topics import AUTHENTICATOR, as_record, publish
from libs.platform.tests.purchases import POISON, PurchaseRow, noted, purchases_of
from libs.platform.tests.shop import EVENTS, Purchase, PurchaseNoted
from libs.platform.tests.shop_store import Shop
from libs.platform.tests.test_policy_runner import keyring
from libs.platform.tests.waiting import eventually, running

from crm_events.envelope import Recorded
from crm_events.topics import Topic
from crm_platform import mongo
from crm_platform.errors import NotFound
from crm_platform.generations import Generation
from crm_platform.keyring import Keyring
from crm_platform.parking import ParkingLot
from crm_platform.policy import Policy, when
from crm_platform.policy_parking import PolicyParking
from crm_platform.policy_runner import PolicyRunner
from crm_platform.projection import Document, Fold, Projection
from crm_platform.projection_parking import ProjectionParking
from crm_platform.projector import Projector
from crm_platform.reactions import Reactions
from crm_platform.testing import SOME_TIME, story_id
from crm_platform.wakeup import Wakeup
from crm_platform.work import UnitOfWork

__all__ = ["keyring"]

HOT, COLD = story_id("hot"), story_id("cold")
POISONED = frozenset((3, 20, 21, 40))
EVENTS_OF_HOT = 60
MENDED_AT = 30
RESTARTED_AT = 45


class Traffic:
    """Events of the hot key and of a cold one, in one partition's chain, one after the other."""

    def __init__(self, topic: Topic, bootstrap: str) -> None:
        self._topic = topic
        self._bootstrap = bootstrap
        self.sent = 0

    async def flow(self) -> None:
        for n in range(1, EVENTS_OF_HOT + 1):
            text = POISON if n in POISONED else str(n)
            hot = as_record(self._topic, 0, noted(HOT, n, text), (n * 2 - 1, n * 2 - 2))
            cold = as_record(self._topic, 0, noted(COLD, n), (n * 2, n * 2 - 1))
            await publish(self._bootstrap, [hot, cold])
            self.sent = n
        await asyncio.Event().wait()


async def _retried_for_ever(lot: ParkingLot, topic: Topic) -> None:
    """An impatient operator with the mended release."""
    while True:
        try:
            done = await lot.retry(topic.name, str(HOT))
            assert done.remaining == 0, done.reason
        except NotFound:
            await asyncio.sleep(0.01)


async def _retried_to_the_end(
    mended: Callable[[], Coroutine[Any, Any, None]],
    lot: ParkingLot,
    topic: Topic,
    notes: Callable[[UUID], Coroutine[Any, Any, list[str]]],
) -> None:
    """The mended release runs and is retried: in the end each key has all its notes, in order, and nothing waits."""
    numbers = range(1, EVENTS_OF_HOT + 1)
    async with running(mended):
        await eventually(lambda: _has(notes(COLD), EVENTS_OF_HOT))
        async with running(lambda: _retried_for_ever(lot, topic)):
            await eventually(lambda: _has(notes(HOT), EVENTS_OF_HOT))
    assert await notes(HOT) == ["mended" if n in POISONED else str(n) for n in numbers]
    assert await notes(COLD) == [str(n) for n in numbers]
    assert await lot.keys() == []


# -- a projection


def _mended(projection: Projection, fold: Fold, document: Document | None, event: Any) -> Document:
    text = "mended" if event.data.text == POISON else event.data.text
    return getattr(projection, fold.method)(document, noted(event.subject, event.sequence, text))  # type: ignore[no-any-return]


@pytest.mark.row("F28 F29", "a fold that raises, mended and retried under traffic", "I3 I4 I8, others flow")
async def test_a_read_model_keeps_the_order_of_a_key_that_is_retried_while_more_comes_in(
    database: mongo.Database, topic: Topic, bootstrap: str
) -> None:
    old, new = purchases_of(topic), purchases_of(topic, apply=_mended)
    traffic, applied = Traffic(topic, bootstrap), Wakeup()
    lot = ProjectionParking(new, EVENTS, database, AUTHENTICATOR, applied)

    def projector(projection: Projection) -> Projector:
        return Projector(projection, EVENTS, database, AUTHENTICATOR, bootstrap, "0", applied)

    async def notes(stream: UUID) -> list[str]:
        row = await database[Generation(old).collection_name(PurchaseRow)].find_one({"_id": str(stream)})
        return list(row["notes"]) if row else []

    live = projector(old)
    await live.prepare()
    async with running(traffic.flow):
        async with running(live.run):
            await eventually(lambda: traffic.sent >= MENDED_AT)
            await eventually(lambda: _has(notes(COLD), MENDED_AT))
            (key,) = await lot.keys()
            assert (key.first.key, key.first.event_type) == (str(HOT), PurchaseNoted.type_name())
            assert await notes(HOT) == ["1", "2"], "nothing of the key is applied before its turn"
            async with running(lambda: _retried_for_ever(lot, topic)):
                await eventually(lambda: traffic.sent >= RESTARTED_AT)
        await _retried_to_the_end(projector(new).run, lot, topic, notes)


async def _has(notes: Any, count: int) -> bool:
    return len(await notes) >= count


# -- a policy


def _keep_twins(topic: Topic, *, mended: bool) -> Policy:
    """What is noted on a purchase is noted on its twin."""

    class KeepTwins(Policy):
        name, topics = f"keep-twins.{topic.name}", (topic,)

        @when(PurchaseNoted)
        def note(self, event: Recorded[PurchaseNoted], work: UnitOfWork) -> None:
            text = event.data.text
            if text == POISON and not mended:
                raise ValueError(text)
            purchase = work.load(Purchase, _twin(event.subject))
            purchase.note("mended" if text == POISON else text)
            work.save(purchase)

    return KeepTwins()


def _twin(purchase: UUID) -> UUID:
    return story_id(f"twin of {purchase}")


@pytest_asyncio.fixture
async def policies(
    shop: Shop, keyring: Keyring, topic: Topic, bootstrap: str
) -> AsyncIterator[tuple[PolicyRunner, PolicyRunner, PolicyParking]]:
    """The live policy as it is, the same mended, and the mended one's way to resolve what is parked."""

    def runner(policy: Policy) -> PolicyRunner:
        reactions = Reactions(policy, shop.committer, keyring, lambda: SOME_TIME)
        recorder = shop.events.store
        return PolicyRunner(policy, EVENTS, recorder, reactions, shop.store, AUTHENTICATOR, bootstrap, "0")

    old, new = _keep_twins(topic, mended=False), _keep_twins(topic, mended=True)
    reactions = Reactions(new, shop.committer, keyring, lambda: SOME_TIME)
    yield runner(old), runner(new), PolicyParking(new, EVENTS, shop.events.store, reactions, shop.store, AUTHENTICATOR)


@pytest.mark.row("F28 F29", "a reaction that raises, mended and retried under traffic", "I4 I8, others flow")
async def test_a_policy_keeps_the_order_of_a_key_that_is_retried_while_more_comes_in(
    shop: Shop, topic: Topic, bootstrap: str, policies: tuple[PolicyRunner, PolicyRunner, PolicyParking]
) -> None:
    live, mended, lot = policies
    traffic = Traffic(topic, bootstrap)

    async def notes(stream: UUID) -> list[str]:
        return await asyncio.to_thread(lambda: shop.committer.staging().aggregate(Purchase, _twin(stream)).notes)

    async with running(traffic.flow):
        async with running(live.run):
            await eventually(lambda: _has(notes(COLD), MENDED_AT))
            (key,) = await lot.keys()
            assert key.first.key == str(HOT)
            assert await notes(HOT) == ["1", "2"], "nothing of the key is reacted to before its turn"
            async with running(lambda: _retried_for_ever(lot, topic)):
                await eventually(lambda: traffic.sent >= RESTARTED_AT)
        await _retried_to_the_end(mended.run, lot, topic, notes)
