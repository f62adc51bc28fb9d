"""A consumer on Kafka: ready once caught up, its lag told, never stuck unnoticed, going on where records were lost."""

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic
from types import ModuleType
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import RecordsToDelete
from libs.platform.tests.kafka_topics import AUTHENTICATOR, administrator, as_record, publish
from libs.platform.tests.purchases import PurchaseRow, TotalRow, noted, purchases_of
from libs.platform.tests.shop import EVENTS
from libs.platform.tests.waiting import eventually, running
from prometheus_client import REGISTRY as METRICS

from crm_events.topics import Topic
from crm_platform import consumer as consumer_module
from crm_platform import mongo
from crm_platform.delivery import Progress, Standing
from crm_platform.generations import Generation
from crm_platform.lag import Watchdog
from crm_platform.parking import LotSize
from crm_platform.projection import Document, Projection
from crm_platform.projector import Projector
from crm_platform.testing import story_id
from crm_platform.wakeup import Wakeup

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_module, "LOOK_SECONDS", 0.1)


def _projector(
    projection: Projection, database: mongo.Database, bootstrap: str, kind: type[Projector] = Projector
) -> Projector:
    return kind(projection, EVENTS, database, AUTHENTICATOR, bootstrap, "0", Wakeup())


def _chain(topic: Topic, *numbers: int, text: str = "") -> list[ConsumerRecord]:
    """Events of partition 0, each on a stream of its own."""
    return [as_record(topic, 0, noted(story_id(f"{n}"), 1, text), (n, n - 1)) for n in numbers]


def _metric(name: str, projection: Projection, **labels: str) -> float | None:
    return METRICS.get_sample_value(name, {"consumer": projection.identity, **labels})


async def _applied(database: mongo.Database, projection: Projection, kind: type[Document] = PurchaseRow) -> int:
    return await database[Generation(projection).collection_name(kind)].count_documents({})


async def test_it_is_ready_once_it_has_read_what_was_there_and_stays_so(
    database: mongo.Database, topic: Topic, bootstrap: str
) -> None:
    projection, release = purchases_of(topic), asyncio.Event()
    await publish(bootstrap, _chain(topic, 1, 2, 3))

    class WaitsAtFirst(Projector):
        async def apply(
            self, records: Sequence[ConsumerRecord], standing: Standing, because: str | None = None
        ) -> Progress:
            await release.wait()
            return await super().apply(records, standing, because)

    projector = _projector(projection, database, bootstrap, WaitsAtFirst)
    async with running(projector.run):
        await eventually(lambda: _metric("crm_consumer_lag_events", projection, topic=topic.name, partition="0") == 3)
        assert not projector.ready
        release.set()
        await eventually(lambda: projector.ready)
        await eventually(lambda: _metric("crm_consumer_lag_events", projection, topic=topic.name, partition="0") == 0)
        assert _metric("crm_consumer_lag_seconds", projection) == 0
    assert projector.ready, "what is away later does not take it back"


async def test_what_is_fetched_and_not_yet_applied_is_lag(
    database: mongo.Database, topic: Topic, bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer_module, "FRESH_MILLISECONDS", 60_000)
    projection, looks = purchases_of(topic), list[float]()
    await publish(bootstrap, _chain(topic, 1, 2, 3))

    class CountsLooks(Projector):
        async def lot_size(self) -> LotSize:
            looks.append(monotonic())
            return await super().lot_size()

    projector = _projector(projection, database, bootstrap, CountsLooks)
    async with running(projector.run):
        await eventually(lambda: projector._records_in_hand)
        looks.clear()
        await eventually(lambda: len(looks) > 3)
        assert _metric("crm_consumer_lag_events", projection, topic=topic.name, partition="0") == 3
        assert not projector.ready
        await publish(bootstrap, _chain(topic, 4))
        await eventually(lambda: projector.ready)


async def test_a_topic_without_records_is_caught_up_with(
    database: mongo.Database, topic: Topic, bootstrap: str
) -> None:
    projector = _projector(purchases_of(topic), database, bootstrap)
    async with running(projector.run):
        await eventually(lambda: projector.ready)


async def test_one_that_stands_while_all_answers_is_stuck_until_it_goes_on(
    database: mongo.Database, topic: Topic, bootstrap: str, log_of: Callable[[ModuleType], list[Any]]
) -> None:
    projection, release, logged = purchases_of(topic), asyncio.Event(), log_of(consumer_module)
    await publish(bootstrap, _chain(topic, 1))

    class Hangs(Projector):
        async def apply(
            self, records: Sequence[ConsumerRecord], standing: Standing, because: str | None = None
        ) -> Progress:
            await release.wait()
            return await super().apply(records, standing, because)

    projector = _projector(projection, database, bootstrap, Hangs)
    projector._watchdog = Watchdog(monotonic(), patience=0.5)
    async with running(projector.run):
        await eventually(lambda: not projector.alive)
        assert _metric("crm_consumer_stuck", projection) == 1
        assert [entry["lag"] for entry in logged if entry["event"] == "consumer_stuck"] == [1]
        release.set()
        await eventually(lambda: projector.alive)


async def test_one_whose_store_is_away_waits_and_is_not_stuck(
    database: mongo.Database, topic: Topic, bootstrap: str
) -> None:
    projection, away = purchases_of(topic), mongo.connect("mongodb://127.0.0.1:1/?replicaSet=rs0")
    await publish(bootstrap, _chain(topic, 1))
    projector = _projector(projection, database, bootstrap)
    async with running(projector.run):
        await eventually(lambda: projector.ready)
    projector._store.parking._parked = mongo.database(away, "t")["parked_events"]
    projector._watchdog = Watchdog(monotonic(), patience=0.0)
    projector._lag.seen({TopicPartition(topic.name, 0): 1}, 0.0)
    await projector._look()
    assert projector.alive
    assert METRICS.get_sample_value("crm_dependency_up", {"dependency": "mongodb"}) == 0
    away.close()


async def test_marks_of_a_transaction_are_no_lag(database: mongo.Database, topic: Topic, bootstrap: str) -> None:
    """An adapter may write in transactions; behind its last record there is then a mark that nobody reads."""
    projection = purchases_of(topic)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"adapter-{topic.name}")
    await producer.start()
    async with producer.transaction():
        for record in _chain(topic, 1, 2):
            await producer.send_and_wait(topic.name, record.value, record.key, 0, headers=list(record.headers))
    await producer.stop()
    projector = _projector(projection, database, bootstrap)
    async with running(projector.run):
        await eventually(lambda: _applied_all(database, projection, 2))
        await eventually(lambda: projector.ready)
        await eventually(lambda: projector._lag.total == 0)


async def test_where_records_were_deleted_unread_it_tells_and_goes_on(
    database: mongo.Database, topic: Topic, bootstrap: str
) -> None:
    projection = purchases_of(topic)
    await publish(bootstrap, _chain(topic, 1))
    async with running(_projector(projection, database, bootstrap).run):
        await eventually(lambda: _applied_all(database, projection, 1))
    await publish(bootstrap, _chain(topic, 2, 3, 4))
    place = TopicPartition(topic.name, 0)
    async with administrator(bootstrap) as admin:
        await admin.delete_records({place: RecordsToDelete(before_offset=3)})
    labels = {"topic": topic.name, "partition": "0"}
    async with running(_projector(projection, database, bootstrap).run):
        await eventually(lambda: _metric("crm_records_lost", projection, **labels) == 1)
        await eventually(lambda: _metric("crm_gap_open", projection, **labels) == 1)
        assert await _applied(database, projection) == 1, "behind the gap nothing is applied"
        await publish(bootstrap, _chain(topic, 2, 3, 4))
        await eventually(lambda: _applied_all(database, projection, 4))
        await eventually(lambda: _metric("crm_gap_open", projection, **labels) == 0)


async def test_what_stands_before_the_cursor_unseen_is_found_when_a_gap_shows(
    database: mongo.Database, topic: Topic, bootstrap: str
) -> None:
    """A partition lost its end, and a relay filled it again beyond where the consumer stood."""
    projection = purchases_of(topic)
    await publish(bootstrap, _chain(topic, 1, 2, 3))
    async with running(_projector(projection, database, bootstrap).run):
        await eventually(lambda: _applied_all(database, projection, 3))
        unseen = {"$set": {"position": 1}}
        await database["cursors"].update_one({"_id": f"{projection.identity}/{topic.name}/0"}, unseen)
    for name in (PurchaseRow, TotalRow):
        await database[Generation(projection).collection_name(name)].delete_many({})
    async with running(_projector(projection, database, bootstrap).run):
        await publish(bootstrap, _chain(topic, 4))
        await eventually(lambda: _applied_all(database, projection, 3))
    cursor = await database["cursors"].find_one({"_id": f"{projection.identity}/{topic.name}/0"})
    assert cursor is not None
    assert (cursor["position"], cursor["gap"]) == (4, None)


async def test_the_one_event_that_cannot_be_stored_is_parked_and_the_batch_around_it_applied(
    database: mongo.Database, topic: Topic, bootstrap: str, log_of: Callable[[ModuleType], list[Any]]
) -> None:
    projection, logged = purchases_of(topic), log_of(consumer_module)
    huge = as_record(topic, 0, noted(story_id("huge"), 1, "x" * 700_000), (4, 3))
    again = as_record(topic, 0, noted(story_id("huge"), 2, "x" * 700_000), (5, 4))
    await publish(bootstrap, [*_chain(topic, 1, 2, 3), huge, again, *_chain(topic, 6, 7)])
    projector = _projector(projection, database, bootstrap)
    async with running(projector.run):
        await eventually(lambda: _applied_all(database, projection, 6))
        await eventually(lambda: _metric("crm_parked_events", projection) == 1)
    (parked,) = [entry for entry in logged if entry["event"] == "event_parked"]
    assert (parked["offset"], parked["log_level"]) == (4, "error")


async def _applied_all(database: mongo.Database, projection: Projection, count: int) -> bool:
    return await _applied(database, projection) == count
