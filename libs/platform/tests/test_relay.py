"""The relay on PostgreSQL and Kafka: every stored event is published, in order, with the bytes that are stored."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from aiokafka import ConsumerRecord
from aiokafka.partitioner import DefaultPartitioner
from libs.platform.tests.kafka_topics import AUTHENTICATOR, position_of, publish, records_of, recreate_topic
from libs.platform.tests.shop import MakePurchase, NotePurchase, count_purchase, make_purchase, note_purchase
from libs.platform.tests.shop_store import Shop, job, order
from libs.platform.tests.waiting import eventually, running

from crm_events.envelope import STRUCTURED
from crm_events.topics import Topic
from crm_platform import relay as relay_module
from crm_platform.command import Receipt
from crm_platform.cursor import Arrival, Cursor, arrival
from crm_platform.outbox import Checkpoint, StoreBehindLogError
from crm_platform.relay import Relay
from crm_platform.testing import SOME_TIME

pytestmark = pytest.mark.integration


class CrashError(Exception):
    """The process dies here."""


class DiesBeforeCheckpoint(Relay):
    def _save(self, checkpoint: Checkpoint) -> None:  # noqa: ARG002 - as the relay's own
        raise CrashError


def _relay(shop: Shop, bootstrap: str, kind: type[Relay] = Relay) -> Relay:
    return kind(shop.events, shop.uri, bootstrap, shop.topic, AUTHENTICATOR)


@pytest_asyncio.fixture
async def relay(shop: Shop, bootstrap: str) -> Relay:
    return _relay(shop, bootstrap)


async def _store(shop: Shop, *texts: str) -> None:
    """One purchase per text, each on a stream of its own, in one transaction."""
    jobs = [job(note_purchase, NotePurchase(text=text), order()) for text in texts]
    outcomes = await asyncio.to_thread(shop.committer.commands, jobs)
    assert all(isinstance(outcome, Receipt) for outcome in outcomes.values())


async def _store_some(shop: Shop) -> None:
    """Public events of six streams, and private ones between them."""
    targets = [uuid4() for _ in range(6)]
    jobs = [job(make_purchase, MakePurchase(), order(target)) for target in targets]
    jobs += [job(kind, NotePurchase(), order(t)) for t in targets for kind in (count_purchase, note_purchase)]
    await asyncio.to_thread(shop.committer.commands, jobs)


async def _relay_all(shop: Shop, *relays: Relay) -> None:
    """Run until what is stored is published."""
    newest = shop.stored()[-1]["notification_id"]
    async with running(*(relay.run for relay in relays)):
        await eventually(lambda: _checkpoint(shop) == newest)


def _checkpoint(shop: Shop) -> int | None:
    rows = shop.rows("SELECT position FROM relay_checkpoint")
    return rows[0]["position"] if rows else None


def _published_of(shop: Shop) -> list[dict[str, Any]]:
    return [row for row in shop.stored() if not row["topic"].startswith("private:")]


def _applied(records: Sequence[ConsumerRecord]) -> list[int]:
    """The positions that a reader of these partitions applies; fails where one is left with a gap."""
    cursors: dict[int, Cursor] = {}
    applied = []
    for record in records:
        cursor = cursors.get(record.partition, Cursor())
        match arrival(cursor, *position_of(record)):
            case Arrival.NEXT:
                applied.append(position_of(record)[0])
                cursor = cursor.applied(applied[-1], SOME_TIME)
            case Arrival.GAP:
                cursor = cursor.passed_over()
        cursors[record.partition] = cursor
    assert all(cursor.gap is None for cursor in cursors.values())
    return sorted(applied)


def _same(record: ConsumerRecord) -> tuple[Any, ...]:
    return record.partition, record.key, record.value, tuple(record.headers)


async def test_what_is_published_is_what_is_stored_byte_for_byte(shop: Shop, relay: Relay, bootstrap: str) -> None:
    await _store_some(shop)
    await _relay_all(shop, relay)
    records = sorted(await records_of(bootstrap, shop.topic), key=position_of)
    stored = _published_of(shop)
    assert [r.value for r in records] == [bytes(row["state"]) for row in stored]
    assert [r.key for r in records] == [str(row["originator_id"]).encode() for row in stored]
    for record, row in zip(records, stored, strict=True):
        headers = dict(record.headers)
        assert headers["content-type"] == STRUCTURED.encode()
        assert headers["ce_type"] == row["topic"].encode()
        assert headers["ce_id"] in record.value
        assert headers["ce_position"] == str(row["notification_id"]).encode()


async def test_private_events_are_stored_and_not_published(shop: Shop, relay: Relay, bootstrap: str) -> None:
    await _store_some(shop)
    await _relay_all(shop, relay)
    assert len(shop.stored()) == 18
    assert len(await records_of(bootstrap, shop.topic)) == 12


async def test_an_event_goes_where_kafkas_own_partitioner_would_send_it(
    shop: Shop, relay: Relay, bootstrap: str
) -> None:
    await _store(shop, *(["small"] * 30))
    await _relay_all(shop, relay)
    partitions = list(range(shop.topic.partitions))
    records = await records_of(bootstrap, shop.topic)
    assert {r.partition for r in records} == set(partitions)
    assert all(r.partition == DefaultPartitioner()(r.key, partitions, partitions) for r in records)


async def test_each_partition_is_an_unbroken_chain(shop: Shop, relay: Relay, bootstrap: str) -> None:
    for _ in range(3):
        await _store_some(shop)
    await _relay_all(shop, relay)
    last: dict[int, int] = {}
    for record in await records_of(bootstrap, shop.topic):
        position, previous = position_of(record)
        assert previous == last.get(record.partition, 0)
        last[record.partition] = position
    assert len(last) > 1


async def test_a_restarted_relay_goes_on_behind_its_checkpoint(shop: Shop, bootstrap: str) -> None:
    for _ in range(2):
        await _store_some(shop)
        await _relay_all(shop, _relay(shop, bootstrap))
    records = await records_of(bootstrap, shop.topic)
    assert len(records) == len(_published_of(shop))
    assert _applied(records) == [row["notification_id"] for row in _published_of(shop)]


async def test_a_crash_between_ack_and_checkpoint_publishes_the_same_again(shop: Shop, bootstrap: str) -> None:
    await _store_some(shop)
    with pytest.raises(CrashError):
        await _relay(shop, bootstrap, DiesBeforeCheckpoint).run()
    once = await records_of(bootstrap, shop.topic)
    await _relay_all(shop, _relay(shop, bootstrap))
    twice = await records_of(bootstrap, shop.topic)
    assert sorted(map(_same, twice)) == sorted(list(map(_same, once)) * 2)
    assert len(once) == len(_published_of(shop))
    assert _applied(twice) == [row["notification_id"] for row in _published_of(shop)]


async def test_two_relays_at_once_do_no_harm(shop: Shop, bootstrap: str) -> None:
    async with running(_relay(shop, bootstrap).run, _relay(shop, bootstrap).run):
        for _ in range(5):
            await _store_some(shop)
        newest = shop.stored()[-1]["notification_id"]
        await eventually(lambda: _checkpoint(shop) == newest)
    assert _applied(await records_of(bootstrap, shop.topic)) == [row["notification_id"] for row in _published_of(shop)]


@pytest.mark.parametrize("kept", [0, 1], ids=["all", "all but the first of each partition"])
async def test_what_kafka_has_lost_is_published_again(
    shop: Shop, bootstrap: str, log_of: Callable[[ModuleType], list[Any]], kept: int
) -> None:
    await _store(shop, *(["small"] * 30))
    await _relay_all(shop, _relay(shop, bootstrap))
    before = await records_of(bootstrap, shop.topic)
    await recreate_topic(bootstrap, shop.topic)
    await publish(bootstrap, [record for record in before if record.offset < kept])
    logged = log_of(relay_module)

    async def complete() -> bool:
        return {position_of(r) for r in await records_of(bootstrap, shop.topic)} == {position_of(r) for r in before}

    async with running(_relay(shop, bootstrap).run):
        await eventually(complete)
    after = await records_of(bootstrap, shop.topic)
    assert set(map(_same, after)) == set(map(_same, before))
    assert _applied(after) == [row["notification_id"] for row in shop.stored()]
    assert [entry["event"] for entry in logged if entry["log_level"] == "error"] == ["relay_set_back"]


async def test_a_relay_whose_checkpoint_is_lost_publishes_everything_again(shop: Shop, bootstrap: str) -> None:
    await _store_some(shop)
    await _relay_all(shop, _relay(shop, bootstrap))
    before = await records_of(bootstrap, shop.topic)
    with shop.events.store.datastore.get_connection() as connection:
        connection.execute("DELETE FROM relay_checkpoint")
    await _relay_all(shop, _relay(shop, bootstrap))
    after = await records_of(bootstrap, shop.topic)
    assert sorted(map(_same, after)) == sorted(list(map(_same, before)) * 2)


async def test_a_store_behind_the_topic_is_not_relayed(
    shop: Shop, bootstrap: str, log_of: Callable[[ModuleType], list[Any]]
) -> None:
    await _store_some(shop)
    await _relay_all(shop, _relay(shop, bootstrap))
    newest = max(position_of(r)[0] for r in await records_of(bootstrap, shop.topic))
    with shop.events.store.datastore.get_connection() as connection:
        connection.execute("DELETE FROM store_events WHERE notification_id >= %s", (newest,))
    logged = log_of(relay_module)
    restored = _relay(shop, bootstrap)
    with pytest.raises(StoreBehindLogError, match=f"holds position {newest}, the store ends at {newest - 1}"):
        await restored._verified_checkpoint()
    async with running(restored.run):
        await eventually(lambda: any(entry["event"] == "relay_refuses_to_run" for entry in logged))
    assert not restored.ready


async def test_large_and_many_events_pass(shop: Shop, relay: Relay, bootstrap: str) -> None:
    await _store(shop, *(["s" * 500] * 900))
    await _store(shop, *(["l" * 500 * 1024] * 3))
    await _relay_all(shop, relay)
    assert _applied(await records_of(bootstrap, shop.topic)) == [row["notification_id"] for row in shop.stored()]


async def test_a_relay_picks_up_what_is_stored_while_it_runs(shop: Shop, relay: Relay, bootstrap: str) -> None:
    async with running(relay.run):
        await eventually(lambda: relay.ready)
        for count in (1, 2):
            await _store(shop, "late")
            await eventually(partial(_holds, bootstrap, shop.topic, count))


async def _holds(bootstrap: str, topic: Topic, count: int) -> bool:
    return len(await records_of(bootstrap, topic)) == count
