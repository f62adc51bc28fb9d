"""F36: a service says that it has taken a step of an erasure when it is true, and not before."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import ModuleType
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from libs.platform.tests.kafka_topics import AUTHENTICATOR, records_of
from libs.platform.tests.shop_store import Shop
from libs.platform.tests.test_purge import Desk
from libs.platform.tests.waiting import eventually, running

from crm_events import REGISTRY
from crm_events.envelope import from_document
from crm_events.erasures import ErasureStep, ErasureStepOrdered, ErasureStepTaken, SubjectsErased
from crm_events.topics import ERASURES, Topic
from crm_platform import mongo
from crm_platform.erasure import steps as steps_module
from crm_platform.erasure.caught_up import Followed, FollowedPolicy
from crm_platform.erasure.destroy_keys import DestroyKeys
from crm_platform.erasure.erasure_log import Cause, ErasureLog
from crm_platform.erasure.ordered_erasures import OrderedErasures
from crm_platform.erasure.steps import Eraser, ErasureSteps
from crm_platform.key_pool import KafkaKeyPool
from crm_platform.keyring import Keyring, KeyringFiller
from crm_platform.live_read_model import LiveReadModel
from crm_platform.policy_runner import PolicyRunner
from crm_platform.policy_store import PolicyStore
from crm_platform.projector import Projector
from crm_platform.reactions import Reactions
from crm_platform.sealing import InstallationKey
from crm_platform.wakeup import Wakeup

NOT_TAKEN = "erasure_steps_not_taken"
CAUSE = Cause(event="contact erased", story="the test's")
CAUSE = Cause(event="cause", story="story")


class Office:
    """What takes the steps in one service, and what is said of them on the topic."""

    def __init__(self, database: mongo.Database, installation: InstallationKey, bootstrap: str) -> None:
        self.service = f"shop-{uuid4().hex}"
        self.contact_id = uuid4()
        self._database = database
        self._bootstrap = bootstrap
        self._ordered, self._keys_applied = Wakeup(), Wakeup()
        filler = f"{self.service}.keyring"
        self.keyring = Keyring(database, installation, bootstrap, filler, self._keys_applied)
        self.filler = KeyringFiller(filler, database, self.keyring, bootstrap, "0", self._keys_applied)
        self._log = ErasureLog("contacts", bootstrap, AUTHENTICATOR)

    @asynccontextmanager
    async def at_work(self, followed: Sequence[Followed] = (), erasers: Sequence[Eraser] = ()) -> AsyncIterator[None]:
        orders = OrderedErasures(self.service)
        live = LiveReadModel(orders, self._database, REGISTRY, self.keyring, self._ordered)
        own_log = ErasureLog(self.service, self._bootstrap, AUTHENTICATOR)
        steps = ErasureSteps(
            self.service, live, self._ordered, followed, self.keyring, None, erasers, own_log, self._bootstrap
        )
        projector = Projector(orders, REGISTRY, self._database, AUTHENTICATOR, self._bootstrap, "0", self._ordered)
        async with running(projector.run, steps.run):
            yield

    async def order(self, step: ErasureStep) -> None:
        ordered = ErasureStepOrdered(occurred_at=datetime.now(UTC), contact_id=self.contact_id, step=step)
        await self._log.write((ordered,), CAUSE)

    async def has_said(self, step: ErasureStep) -> bool:
        return step in [said.step for said in await self._said()]

    async def _said(self) -> list[ErasureStepTaken]:
        events = [
            from_document(orjson.loads(record.value), REGISTRY).data
            for record in await records_of(self._bootstrap, ERASURES)
        ]
        return [event for event in events if isinstance(event, ErasureStepTaken) and event.service == self.service]


@pytest.fixture
def office(database: mongo.Database, installation: InstallationKey, bootstrap: str, keys: KafkaKeyPool) -> Office:
    """On a crm.keys that holds something."""
    assert keys.ready
    return Office(database, installation, bootstrap)


@pytest.mark.row(
    "F36", "subjects of an erasure, of which this service has sealed for one", "its key alone is destroyed"
)
async def test_the_keys_of_the_subjects_are_destroyed_and_no_others(
    shop: Shop, database: mongo.Database, installation: InstallationKey, bootstrap: str
) -> None:
    erased, other = await shop.make(), await shop.make()
    named = SubjectsErased(occurred_at=datetime.now(UTC), contact_id=uuid4(), subjects=(erased.id, uuid4()))
    await ErasureLog("contacts", bootstrap, AUTHENTICATOR).write((named,), CAUSE)
    policy = DestroyKeys(f"shop-{uuid4().hex}")
    ring = Keyring(database, installation, bootstrap, "none", Wakeup())
    reactions = Reactions(policy, shop.committer, ring, lambda: datetime.now(UTC))
    store = shop.events.store
    runner = PolicyRunner(policy, REGISTRY, store, reactions, shop.store, AUTHENTICATOR, bootstrap, "0")
    async with running(runner.run):
        await eventually(lambda: erased.id not in _with_keys(shop))
    assert other.id in _with_keys(shop)


def _with_keys(shop: Shop) -> list[UUID]:
    return [row["subject"] for row in shop.rows("SELECT subject FROM subject_keys WHERE wrapped IS NOT NULL")]


@pytest.mark.row("F36", "a keyring that is behind crm.keys", "it is not said that it has forgotten")
async def test_it_is_said_to_have_forgotten_when_the_keyring_has_read_everything(
    office: Office, log_of: Callable[[ModuleType], list[Any]]
) -> None:
    logged = log_of(steps_module)

    async def tried() -> bool:
        return NOT_TAKEN in [entry["event"] for entry in logged] or await office.has_said(ErasureStep.FORGET)

    await office.order(ErasureStep.DESTROY)
    async with office.at_work():
        await eventually(lambda: office.has_said(ErasureStep.DESTROY), within=40)
        logged.clear()
        await office.order(ErasureStep.FORGET)
        await eventually(tried, within=40)
        assert not await office.has_said(ErasureStep.FORGET)
        async with running(office.filler.run):
            await eventually(lambda: office.has_said(ErasureStep.FORGET), within=40)


class PurgesNotes:
    """Deletes what the shop's policy has taken in."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.called = 0

    async def erase(self, contact_id: UUID) -> None:
        assert contact_id
        await self._desk.purge.at_once()
        self.called += 1


@pytest.mark.row("F36", "records that are read only after the order", "they are deleted before it is said")
async def test_what_was_read_after_the_order_is_erased_before_anything_is_said(
    office: Office, shop: Shop, topic: Topic, bootstrap: str
) -> None:
    desk = Desk(shop, topic, bootstrap, office.keyring)
    eraser = PurgesNotes(desk)
    followed = FollowedPolicy(desk.policy.topics, PolicyStore(desk.policy.name, shop.events.store))
    await desk.write("a", "b")
    await office.order(ErasureStep.DESTROY)
    async with office.at_work([followed], [eraser]):
        await eventually(lambda: eraser.called == 1)
        assert (await desk.extent()).beginning == 0
        assert not await office.has_said(ErasureStep.DESTROY)
        async with running(desk.runner().run):
            await eventually(lambda: office.has_said(ErasureStep.DESTROY), within=40)
    extent = await desk.extent()
    assert extent.beginning == extent.end == 2
