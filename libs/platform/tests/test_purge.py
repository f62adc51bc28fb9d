"""Records that others write in the clear are deleted once they are taken in, and never before."""

from collections.abc import Callable
from types import ModuleType
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiokafka import TopicPartition
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from libs.platform.tests.kafka_topics import AUTHENTICATOR, administrator, as_record, publish
from libs.platform.tests.purchases import noted
from libs.platform.tests.shop import EVENTS, Purchase, PurchaseNoted
from libs.platform.tests.shop_store import Shop
from libs.platform.tests.waiting import eventually, running
from prometheus_client import REGISTRY as METRICS

from crm_events.envelope import Recorded
from crm_events.topics import INTERACTIONS, KEYS, Topic
from crm_platform import consumer as consumer_module
from crm_platform import kafka, mongo
from crm_platform.cursor import Cursor
from crm_platform.keyring import Keyring
from crm_platform.policy import Policy, when
from crm_platform.policy_parking import PolicyParking
from crm_platform.policy_runner import PolicyRunner
from crm_platform.purge import Closing, Extent, Purge, Purged, behind
from crm_platform.reactions import Reactions
from crm_platform.sealing import InstallationKey
from crm_platform.testing import SOME_TIME, story_id
from crm_platform.topics import SEGMENT_SECONDS, declare, settings_of
from crm_platform.wakeup import Wakeup
from crm_platform.work import UnitOfWork

TWIN = story_id("twin")
PLACE = TopicPartition("t", 0)


# -- what may be purged


def test_nothing_beyond_the_stored_cursor_is_purged() -> None:
    assert behind({PLACE: Cursor(7)}, {PLACE: Extent(0, 9)}) == {PLACE: 7}
    assert behind({PLACE: Cursor(7)}, {PLACE: Extent(7, 9)}) == {}
    assert behind({}, {PLACE: Extent(0, 9)}) == {}


def test_nothing_of_a_topic_that_was_made_anew_is_purged_before_it_is_read() -> None:
    assert behind({PLACE: Cursor(700)}, {PLACE: Extent(0, 9)}) == {}


def test_a_partition_that_lies_still_is_closed_once() -> None:
    closing, purged = Closing(), {PLACE: Extent(9, 9)}
    assert closing.due(purged, 0.0) == []
    assert closing.due(purged, SEGMENT_SECONDS - 1) == []
    assert closing.due(purged, SEGMENT_SECONDS) == [PLACE]
    after = {PLACE: Extent(9, 11)}
    closing.closed([PLACE], after)
    assert closing.due({PLACE: Extent(11, 11)}, 2 * SEGMENT_SECONDS) == []
    assert closing.due({PLACE: Extent(11, 11)}, 4 * SEGMENT_SECONDS) == []


@pytest.mark.parametrize("extent", [Extent(0, 0), Extent(3, 9)], ids=["never written", "not all of it purged"])
def test_a_partition_without_purged_records_at_its_end_is_not_closed(extent: Extent) -> None:
    closing = Closing()
    closing.due({PLACE: extent}, 0.0)
    assert closing.due({PLACE: extent}, SEGMENT_SECONDS) == []


# -- on Kafka


class Notes(Policy):
    """Keeps a copy of every note but one that is `refused`."""

    refused = ""

    def streams(self, event: Recorded[Any]) -> list[UUID]:  # noqa: ARG002 - a policy's shape
        return [TWIN]


def notes_of(topic: Topic) -> Notes:
    """The policy of this topic, under a name of its own."""

    class OwnNotes(Notes):
        name = f"shop.notes.{uuid4().hex}"
        topics = (topic,)

        @when(PurchaseNoted)
        def noted(self, event: Recorded[PurchaseNoted], work: UnitOfWork) -> None:
            if event.data.text == self.refused:
                raise RuntimeError("it cannot be kept")
            twin = work.load(Purchase, TWIN)
            twin.note(event.data.text)
            work.save(twin)

    return OwnNotes()


class Desk:
    """A policy that reads the test's topic, and the purge behind it."""

    def __init__(self, shop: Shop, topic: Topic, bootstrap: str, keyring: Keyring) -> None:
        self.shop, self.topic, self.bootstrap = shop, topic, bootstrap
        self.policy = notes_of(topic)
        self.reactions = Reactions(self.policy, shop.committer, keyring, lambda: SOME_TIME)
        self.purge = Purge(Purged(topic, self.policy.name), shop.events.store, bootstrap, 3600)
        store = shop.events.store
        self.parking = PolicyParking(self.policy, EVENTS, store, self.reactions, shop.store, AUTHENTICATOR)

    def runner(self) -> PolicyRunner:
        store = self.shop.events.store
        return PolicyRunner(
            self.policy, EVENTS, store, self.reactions, self.shop.store, AUTHENTICATOR, self.bootstrap, "0"
        )

    async def write(self, *texts: str, first: int = 1) -> None:
        records = [
            as_record(self.topic, 0, noted(story_id("written"), n, text), (n, n - 1))
            for n, text in enumerate(texts, first)
        ]
        await publish(self.bootstrap, records)

    def notes(self) -> list[str]:
        return self.shop.committer.staging().aggregate(Purchase, TWIN).notes

    async def extent(self) -> Extent:
        place = TopicPartition(self.topic.name, 0)
        async with kafka.reader(self.bootstrap) as client:
            beginnings, ends = await client.beginning_offsets([place]), await client.end_offsets([place])
        return Extent(beginnings[place], ends[place])


@pytest.fixture
def desk(shop: Shop, topic: Topic, bootstrap: str, database: mongo.Database, installation: InstallationKey) -> Desk:
    return Desk(shop, topic, bootstrap, Keyring(database, installation, bootstrap, "none", Wakeup()))


@pytest.mark.integration
async def test_what_was_taken_in_is_deleted_and_what_was_not_is_kept_and_read_on(
    desk: Desk, log_of: Callable[[ModuleType], list[Any]]
) -> None:
    logged = log_of(consumer_module)
    await desk.write("a", "b")
    assert await desk.purge.at_once() == 0
    async with running(desk.runner().run):
        await eventually(lambda: desk.notes() == ["a", "b"])
    await desk.write("c", first=3)
    assert await desk.purge.at_once() == 2
    assert await desk.purge.at_once() == 0
    assert await desk.extent() == Extent(2, 3)
    labels = {"topic": desk.topic.name}
    assert METRICS.get_sample_value("crm_purged_records_total", labels) == 2
    async with running(desk.runner().run):
        await eventually(lambda: desk.notes() == ["a", "b", "c"])
        assert await desk.purge.at_once() == 1
        assert METRICS.get_sample_value("crm_purged_topic_oldest_seconds", labels) == 0
        await desk.write("d", first=4)
        await eventually(lambda: desk.notes() == ["a", "b", "c", "d"])
    assert not [entry for entry in logged if entry["event"] in ("records_lost", "partition_shorter_than_cursor")]


@pytest.mark.integration
async def test_what_is_parked_can_be_applied_after_its_record_is_deleted(desk: Desk) -> None:
    desk.policy.refused = "bad"
    await desk.write("a", "bad")
    async with running(desk.runner().run):
        await eventually(lambda: len(desk.shop.rows("SELECT 1 FROM parked_events")) == 1)
    assert await desk.purge.at_once() == 2
    (parked,) = await desk.parking.keys()
    desk.policy.refused = ""
    await desk.parking.retry(desk.topic.name, parked.first.key)
    assert desk.notes() == ["a", "bad"]


@pytest.mark.integration
async def test_closing_a_segment_is_no_record_to_anybody(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crm_platform.purge.SEGMENT_SECONDS", 0.0)
    await desk.write("a")
    async with running(desk.runner().run):
        await eventually(lambda: desk.notes() == ["a"])
        await desk.purge.at_once()
        await desk.purge._close_segments()
        before = await desk.extent()
        assert before.end > 1
        await desk.purge._close_segments()
        assert await desk.extent() == before
        await desk.write("b", first=2)
        await eventually(lambda: desk.notes() == ["a", "b"])
        assert await desk.purge.at_once() > 0


# -- settings


@pytest.mark.integration
async def test_topics_that_exist_are_given_what_is_declared_and_keep_the_rest(bootstrap: str) -> None:
    resource = ConfigResource(ConfigResourceType.TOPIC, INTERACTIONS.name, {"flush.ms": "5000"})
    async with administrator(bootstrap) as admin:
        await admin.alter_configs([resource])
        await declare(bootstrap)
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, INTERACTIONS.name)])
    ((_, _, _, _, entries),) = answer.resources
    found = {entry[0]: entry[1] for entry in entries}
    assert found.items() >= {**settings_of(INTERACTIONS), "flush.ms": "5000"}.items()
    assert settings_of(INTERACTIONS)["segment.ms"] == "3600000"
    assert settings_of(KEYS)["max.compaction.lag.ms"] == "3600000"
