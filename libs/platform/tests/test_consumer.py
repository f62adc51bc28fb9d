"""The consuming loop on Kafka: it reads from its own cursors, and stops before what it cannot apply."""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from types import ModuleType
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.errors import OffsetOutOfRangeError
from libs.platform.tests.kafka_topics import AUTHENTICATOR, administrator, as_record, publish, recreate_topic
from libs.platform.tests.purchases import POISON, PurchaseRow, TotalRow, noted, purchases_of
from libs.platform.tests.shop import EVENTS
from libs.platform.tests.waiting import eventually, running
from prometheus_client import REGISTRY as METRICS
from pymongo.errors import AutoReconnect

from crm_events.topics import Topic
from crm_platform import consumer as consumer_module
from crm_platform import mongo
from crm_platform.delivery import Standing
from crm_platform.generations import Generation
from crm_platform.projection import Projection
from crm_platform.projector import Projector
from crm_platform.testing import story_id
from crm_platform.wakeup import Wakeup

pytestmark = pytest.mark.integration


async def _fill(bootstrap: str, topic: Topic, poisoned: int | None = None) -> None:
    """Five events in each partition; one of the poisoned partition cannot be folded."""
    await publish(
        bootstrap,
        [
            as_record(
                topic,
                0,
                noted(story_id(f"{partition}"), n, POISON if (partition, n) == (poisoned, 3) else ""),
                (n, n - 1),
                partition=partition,
            )
            for partition in range(topic.partitions)
            for n in range(1, 6)
        ],
    )


async def _commit_as_group(bootstrap: str, group: str, topic: Topic, offset: int) -> None:
    """What somebody's tool might do to the group's committed offsets."""
    client = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    await client.start()
    try:
        places = [TopicPartition(topic.name, n) for n in range(topic.partitions)]
        client.assign(places)
        await client.commit(dict.fromkeys(places, offset))
    finally:
        await client.stop()


async def _totals(database: mongo.Database, projection: Projection) -> dict[str, int]:
    rows = await database[Generation(projection).collection_name(TotalRow)].find().to_list(None)
    return {row["_id"].rpartition("/")[2]: row["count"] for row in rows}


def _stopped(projection: Projection, topic: Topic, partition: int) -> float | None:
    labels = {"consumer": projection.identity, "topic": topic.name, "partition": str(partition)}
    return METRICS.get_sample_value("crm_partition_stopped", labels)


async def test_a_consumer_reads_from_its_own_cursor_whatever_the_group_has_committed(
    database: mongo.Database, topic: Topic, bootstrap: str
) -> None:
    projection = purchases_of(topic)
    await _fill(bootstrap, topic)
    await _commit_as_group(bootstrap, projection.identity, topic, offset=4)
    projector = Projector(projection, EVENTS, database, AUTHENTICATOR, bootstrap, "0", Wakeup())

    async def all_applied(each: int) -> bool:
        return await _totals(database, projection) == {"0": each, "1": each, "2": each}

    async with running(projector.run):
        await eventually(lambda: all_applied(5))
    later = [as_record(topic, 0, noted(story_id("later"), 1), (6, 5), partition=n) for n in range(topic.partitions)]
    await publish(bootstrap, later)
    async with running(Projector(projection, EVENTS, database, AUTHENTICATOR, bootstrap, "0", Wakeup()).run):
        await eventually(lambda: all_applied(6))


async def test_a_topic_made_anew_is_read_from_its_beginning(
    database: mongo.Database, topic: Topic, bootstrap: str, log_of: Callable[[ModuleType], list[Any]]
) -> None:
    """A relay publishes there again what was lost; what comes behind it must not be read from the old offset on."""
    projection, logged = purchases_of(topic), log_of(consumer_module)
    await _fill(bootstrap, topic)
    async with running(Projector(projection, EVENTS, database, AUTHENTICATOR, bootstrap, "0", Wakeup()).run):
        await eventually(lambda: _is(database, projection, {"0": 5, "1": 5, "2": 5}))
    await recreate_topic(bootstrap, topic)
    again = [as_record(topic, 0, noted(story_id("0"), n), (n, n - 1)) for n in (4, 5, 6)]
    await publish(bootstrap, again)
    async with running(Projector(projection, EVENTS, database, AUTHENTICATOR, bootstrap, "0", Wakeup()).run):
        await eventually(lambda: _is(database, projection, {"0": 6, "1": 5, "2": 5}))
    errors = {entry["event"] for entry in logged if entry["log_level"] == "error"}
    assert errors == {"partition_shorter_than_cursor"}


@pytest.mark.parametrize("told", [1, 2])
async def test_an_offset_that_the_group_committed_and_the_topic_lost_keeps_a_consumer_from_nothing(
    database: mongo.Database, topic: Topic, bootstrap: str, told: int
) -> None:
    """Aiokafka reads from there until the cursors are known, and says that it cannot.

    They become known after it was `told` so: once, while that is being answered, or twice, after that was answered.
    """
    projection = purchases_of(topic)
    await _fill(bootstrap, topic)
    await _commit_as_group(bootstrap, projection.identity, topic, offset=1)
    async with running(Projector(projection, EVENTS, database, AUTHENTICATOR, bootstrap, "0", Wakeup()).run):
        await eventually(lambda: _is(database, projection, {"0": 5, "1": 5, "2": 5}))
    async with administrator(bootstrap) as admin:
        places = [TopicPartition(topic.name, n) for n in range(topic.partitions)]
        await admin.delete_records(dict.fromkeys(places, RecordsToDelete(before_offset=2)))
    later = [as_record(topic, 0, noted(story_id("later"), 1), (6, 5), partition=n) for n in range(topic.partitions)]
    await publish(bootstrap, later)
    refused: list[Exception] = []

    class KnowsItsCursorsLate(Projector):
        async def standing(self, places: Iterable[TopicPartition]) -> Standing:
            wanted = list(places)
            if wanted:
                await eventually(lambda: len(refused) >= told)
            elif told == 1:
                await eventually(lambda: bool(self._standing.cursors))
            return await super().standing(wanted)

        async def _fetched(self, client: AIOKafkaConsumer, milliseconds: int) -> list[ConsumerRecord]:
            try:
                return await super()._fetched(client, milliseconds)
            except OffsetOutOfRangeError as refusal:
                refused.append(refusal)
                raise

    projector = KnowsItsCursorsLate(projection, EVENTS, database, AUTHENTICATOR, bootstrap, "0", Wakeup())
    async with running(projector.run):
        await eventually(lambda: _is(database, projection, {"0": 6, "1": 6, "2": 6}))
        await eventually(lambda: projector.ready)
    assert len(refused) >= told


async def test_where_the_cursors_cannot_be_read_nothing_is_read(
    database: mongo.Database, topic: Topic, bootstrap: str
) -> None:
    projection = purchases_of(topic)
    await _fill(bootstrap, topic)
    await _commit_as_group(bootstrap, projection.identity, topic, offset=4)
    failures: list[Iterable[TopicPartition]] = []

    class LosesItsDatabase(Projector):
        async def standing(self, places: Iterable[TopicPartition]) -> Standing:
            if not failures:
                failures.append(places)
                raise AutoReconnect("gone for a moment")
            return await super().standing(places)

    async def all_applied() -> bool:
        return await _totals(database, projection) == {"0": 5, "1": 5, "2": 5}

    async with running(LosesItsDatabase(projection, EVENTS, database, AUTHENTICATOR, bootstrap, "0", Wakeup()).run):
        await eventually(all_applied)
    assert failures


async def test_a_consumer_goes_on_after_its_client_was_cancelled_by_itself(
    database: mongo.Database, topic: Topic, bootstrap: str
) -> None:
    """The client may wait for its own coordination, which it has cancelled: nobody told the consumer to end."""
    projection = purchases_of(topic)
    await _fill(bootstrap, topic)
    interrupted: list[Iterable[TopicPartition]] = []

    class WaitsForWhatWasCancelled(Projector):
        async def standing(self, places: Iterable[TopicPartition]) -> Standing:
            if not interrupted:
                interrupted.append(places)
                raise asyncio.CancelledError
            return await super().standing(places)

        async def prepare(self) -> None:
            if len(interrupted) == 1:
                interrupted.append(())
                raise asyncio.CancelledError
            await super().prepare()

    projector = WaitsForWhatWasCancelled(projection, EVENTS, database, AUTHENTICATOR, bootstrap, "0", Wakeup())
    async with running(projector.run):
        await eventually(lambda: _is(database, projection, {"0": 5, "1": 5, "2": 5}))
    assert len(interrupted) == 2


async def test_a_client_that_waits_for_what_nobody_sends_is_given_up_for_another(
    database: mongo.Database,
    topic: Topic,
    bootstrap: str,
    log_of: Callable[[ModuleType], list[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The client waits for metadata that nothing fetches any more, as was seen once the broker had been killed."""
    monkeypatch.setattr(consumer_module, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(consumer_module, "ANSWER_SECONDS", 1.0)
    projection, logged = purchases_of(topic), log_of(consumer_module)
    await _fill(bootstrap, topic)
    projector = Projector(projection, EVENTS, database, AUTHENTICATOR, bootstrap, "0", Wakeup())

    async def given_up() -> bool:
        return "client_given_up" in {entry["event"] for entry in logged}

    async with running(projector.run):
        await eventually(lambda: _is(database, projection, {"0": 5, "1": 5, "2": 5}))
        assert projector._client is not None
        lost = projector._client._client
        lost._sync_task.cancel()
        lost.force_metadata_update()
        await eventually(given_up)
        later = [as_record(topic, 0, noted(story_id("later"), 1), (6, 5), partition=n) for n in range(topic.partitions)]
        await publish(bootstrap, later)
        await eventually(lambda: _is(database, projection, {"0": 6, "1": 6, "2": 6}))
        assert projector._client._client is not lost


async def _is(database: mongo.Database, projection: Projection, totals: dict[str, int]) -> bool:
    return await _totals(database, projection) == totals


async def _applied_all(database: mongo.Database, projection: Projection) -> bool:
    cursors = await database["cursors"].find({"consumer": projection.identity}).to_list(None)
    return [row["next_offset"] for row in cursors] == [5, 5, 5]


async def test_rows_are_kept_under_the_projections_version(
    database: mongo.Database, topic: Topic, bootstrap: str
) -> None:
    old, new = purchases_of(topic), purchases_of(topic, version=2)
    await _fill(bootstrap, topic)

    async def filled(projection: Projection) -> bool:
        return (
            await database[Generation(projection).collection_name(PurchaseRow)].count_documents({}) == topic.partitions
        )

    projectors = [Projector(p, EVENTS, database, AUTHENTICATOR, bootstrap, "0", Wakeup()) for p in (old, new)]
    async with running(*(p.run for p in projectors)):
        for projection in (old, new):
            await eventually(partial(filled, projection))
