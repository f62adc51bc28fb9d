"""F10, F12, F13: members of a consumer group freeze, come and go."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from door import eventually
from tests.faults.members import member_of
from tests.faults.rig import HEALS_WITHIN, Rig

from crm_events.topics import CONTACTS, SALES
from crm_platform.consumer import SESSION_MILLISECONDS

STORM_SECONDS = 180 if os.environ.get("NIGHTLY") else 40
STAYS_SECONDS = 2.0
FROZEN_SECONDS = SESSION_MILLISECONDS / 1000 + 4
STORMED = {"sales.leads.v1": (SALES.name,), "sales.link-leads": (CONTACTS.name,)}


@pytest.mark.row("F10", "SIGSTOP of one of three members beyond its session, then SIGCONT", "I1-I6 I8 I10")
async def test_a_member_that_wakes_up_after_its_partitions_were_taken_writes_nothing(rig: Rig) -> None:
    async with (
        member_of(rig.stack, "sales", "1") as first,
        member_of(rig.stack, "sales", "2"),
        rig.under_load(with_more_members_of="sales") as trial,
    ):
        await trial.settled(2)
        first.pause()
        await asyncio.sleep(FROZEN_SECONDS)
        before = await rig.reality.cursors()
        await eventually(
            lambda: _all_moved(rig, before), "the others have its partitions", within=HEALS_WITHIN, every=1
        )
        first.resume()
        await trial.settled(3)
        assert first.is_running, first.log()
        trial.repaired()


async def _all_moved(rig: Rig, before: dict[tuple[str, str, int], tuple[int, int]]) -> bool:
    """Every partition of the read model of leads is read on."""
    now = await rig.reality.cursors()
    mine = [key for key in before if key[0] == "sales.leads.v1"]
    return all(now[key] > before[key] for key in mine)


@pytest.mark.timeout(600)
@pytest.mark.row(
    "F12",
    f"a stranger joins and leaves the groups every {STAYS_SECONDS:.0f} s for {STORM_SECONDS} s",
    "I1-I8 I10, applied rate > 0",
)
async def test_a_storm_of_rebalances_slows_and_breaks_nothing(rig: Rig) -> None:
    async with rig.under_load() as trial:
        await trial.settled(1)
        until, rounds, moved = time.monotonic() + STORM_SECONDS, 0, 0
        while time.monotonic() < until:
            before = await rig.reality.cursors()
            async with _stranger(rig):
                await asyncio.sleep(STAYS_SECONDS)
            await asyncio.sleep(STAYS_SECONDS)
            after = await rig.reality.cursors()
            rounds += 1
            moved += any(after[key] > before[key] for key in after if key[0] in STORMED and key in before)
        trial.repaired()
    assert moved > rounds / 4, f"the groups read on in {moved} of {rounds} rounds"


@asynccontextmanager
async def _stranger(rig: Rig) -> AsyncIterator[None]:
    """A member of the groups that reads nothing, and commits offsets that are not true."""
    clients = [
        AIOKafkaConsumer(
            *topics,
            bootstrap_servers=rig.stack.addresses.kafka_bootstrap,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="latest",
        )
        for group, topics in STORMED.items()
    ]
    await asyncio.gather(*(client.start() for client in clients))
    try:
        yield
        for client in clients:
            assigned = client.assignment()
            try:
                await client.commit(dict(await client.end_offsets(list(assigned))) if assigned else None)
            except KafkaError:
                continue  # a rebalance came between; the next stranger commits again
    finally:
        await asyncio.gather(*(client.stop() for client in clients), return_exceptions=True)


@pytest.mark.row("F13", "from one worker to three and back, by SIGTERM", "I1-I8 I10, exit code 0")
async def test_workers_that_come_and_go_in_good_order_cost_nothing(rig: Rig) -> None:
    async with rig.under_load(with_more_members_of="contacts") as trial:
        async with member_of(rig.stack, "contacts", "1") as first, member_of(rig.stack, "contacts", "2") as second:
            await trial.settled(3)
            codes = [await first.terminate(), await second.terminate()]
        trial.repaired()
        assert codes == [0, 0]
        await trial.settled(1)
