"""Stores and logs that no longer fit: a store of yesterday, a partition without its beginning, two relays at once."""

import asyncio
from uuid import uuid4

import psycopg
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from door import eventually
from psycopg.rows import TupleRow
from tests.faults.members import member_of
from tests.faults.poison import KPIS
from tests.faults.rig import GAUGES_WITHIN, HEALS_WITHIN, Rig

from crm_events.topics import SALES

STOPPED = ("crm_relay_stopped", ())
LOST = 5
"""How many commands the backup does not have."""


@pytest.mark.timeout(600)
@pytest.mark.row("restore", "a store restored from a backup", "a loud refusal; whole again with its events")
async def test_a_store_that_is_behind_the_log_refuses_until_its_events_are_back(rig: Rig) -> None:
    await _campaign(rig)
    await rig.rests()
    newest = await asyncio.to_thread(rig.reality.newest, "marketing")
    for _ in range(LOST):
        await _campaign(rig)
    await rig.rests()
    async with rig.held("marketing"):
        lost = await asyncio.to_thread(_restore_backup, rig, newest)
    try:
        await eventually(lambda: _refuses(rig), "crm_relay_stopped is 1", within=HEALS_WITHIN)
        assert "relay_refuses_to_run" in rig.stack.log("marketing")
        assert [line for line in await rig.not_ready() if "marketing" in line and "relay" in line]
    finally:
        async with rig.held("marketing"):
            await asyncio.to_thread(_take_back, rig, lost)
    await rig.is_back("marketing")
    async with rig.under_load(writers=2):
        pass


async def _campaign(rig: Rig) -> None:
    body = {"name": uuid4().hex, "channel": "email"}
    (await rig.door.post("/api/campaigns", body, role="marketing")).expect(201)


async def _refuses(rig: Rig) -> bool:
    samples = await rig.samples_of("marketing")
    return samples.get(STOPPED) == 1


def _restore_backup(rig: Rig, newest: int) -> list[TupleRow]:
    """What the store holds later than the backup is gone, and its sequence stands where it stood."""
    with psycopg.connect(rig.stack.addresses.postgres_uri("marketing")) as connection:
        lost = connection.execute(
            "DELETE FROM store_events WHERE notification_id > %s"
            " RETURNING notification_id, originator_id, originator_version, topic, state",
            (newest,),
        ).fetchall()
        connection.execute("SELECT setval(pg_get_serial_sequence('store_events', 'notification_id'), %s)", (newest,))
        connection.execute("UPDATE relay_checkpoint SET position = %s", (newest,))
    assert len(lost) == LOST
    return lost


def _take_back(rig: Rig, lost: list[TupleRow]) -> None:
    with psycopg.connect(rig.stack.addresses.postgres_uri("marketing")) as connection:
        for row in lost:
            connection.execute(
                "INSERT INTO store_events (notification_id, originator_id, originator_version, topic, state)"
                " VALUES (%s, %s, %s, %s, %s)",
                row,
            )
        connection.execute(
            "SELECT setval(pg_get_serial_sequence('store_events', 'notification_id'), max(notification_id))"
            " FROM store_events"
        )


@pytest.mark.timeout(600)
@pytest.mark.row("truncated", "delete_records before a cursor", "I1-I6 I8 I10, crm_records_lost; whole by the runbook")
async def test_a_partition_that_lost_its_beginning_is_told_and_filled_again(rig: Rig) -> None:
    async with rig.under_load() as trial:
        trial.replayed.add(SALES.name)
        trial.uncounted |= {"contacts", "sales", "analytics", "gateway"}
        await trial.settled(3)
        async with rig.held("analytics"):
            await trial.settled(3)
            cut = await _truncated(rig)
            await trial.settled(3)
        await eventually(lambda: _told_as_lost(rig, cut), "crm_records_lost is 1", within=HEALS_WITHIN)
        await eventually(lambda: _gap_is_told(rig, cut), "the gap is told", within=GAUGES_WITHIN)
        async with rig.held("sales"):
            await asyncio.to_thread(_forget_what_is_published, rig)
        await rig.is_back("sales")
        await trial.settled(1)
        await rig.restart("analytics")
        await rig.is_back("analytics")
        trial.repaired()
        await trial.settled(1)


async def _truncated(rig: Rig) -> int:
    """A partition in which analytics has something to read loses all that it holds; returns its number."""
    ends, cursors = await rig.reality.ends(), await rig.reality.cursors()
    behind = {
        n: ends[SALES.name, n]
        for n in range(SALES.partitions)
        if 0 < cursors.get((KPIS, SALES.name, n), (0, 0))[0] < ends[SALES.name, n]
    }
    assert behind
    partition = min(behind)
    admin = AIOKafkaAdminClient(bootstrap_servers=rig.stack.addresses.kafka_bootstrap)
    await admin.start()
    try:
        place = TopicPartition(SALES.name, partition)
        await rig.reality.refresh()
        await admin.delete_records({place: RecordsToDelete(before_offset=behind[partition])})
    finally:
        await admin.close()
    return partition


async def _told_as_lost(rig: Rig, partition: int) -> bool:
    return await _told(rig, "crm_records_lost", partition)


async def _gap_is_told(rig: Rig, partition: int) -> bool:
    return await _told(rig, "crm_gap_open", partition)


async def _told(rig: Rig, name: str, partition: int) -> bool:
    labels = (("consumer", KPIS), ("partition", str(partition)), ("topic", SALES.name))
    return (await rig.samples_of("analytics")).get((name, labels)) == 1


def _forget_what_is_published(rig: Rig) -> None:
    """As the runbook says: the relay of the owner then publishes everything again."""
    with psycopg.connect(rig.stack.addresses.postgres_uri("sales")) as connection:
        connection.execute("DELETE FROM relay_checkpoint")


@pytest.mark.timeout(600)
@pytest.mark.row("relays", "the relays of two releases beside each other, one killed", "I1-I8 I10")
async def test_two_relays_of_a_service_beside_each_other_are_harmless(rig: Rig) -> None:
    async with rig.under_load(with_more_members_of="sales") as trial:
        trial.replayed.add(SALES.name)
        async with member_of(rig.stack, "sales", "1"):
            await trial.settled(4)
            await rig.kill("sales")
            await trial.settled(2)
            await rig.is_back("sales")
            await trial.settled(2)
        trial.repaired()
        await trial.settled(1)
