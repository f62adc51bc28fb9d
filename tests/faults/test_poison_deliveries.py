"""F24: true records that come twice, in another order, all over again, or with one missing."""

from uuid import UUID, uuid4

import aiohttp
import pytest
from door import eventually
from tests.faults import telemetry
from tests.faults.crafting import Crafted, Crafter
from tests.faults.members import Member, member_of
from tests.faults.poison import CUSTOMERS, KPIS, LEADS, readers_of
from tests.faults.rig import GAUGES_WITHIN, Rig

from crm_events.topics import INTERACTIONS, PARTITIONS, SALES

OWN = {LEADS, "sales.opportunities.v1"}
READERS = {LEADS: "sales", CUSTOMERS: "gateway", KPIS: "analytics"}


@pytest.mark.row(
    "F24", "every record of a partition again, forwards and backwards, under load", "I1-I6 I8 I10, repeats are counted"
)
async def test_a_partition_that_comes_all_over_again_changes_nothing(rig: Rig) -> None:
    await rig.rests()
    before = await _repeats(rig)
    async with rig.under_load() as trial, Crafter.of(rig) as crafter:
        await trial.settled(1)
        ends = await rig.reality.ends()
        partition = max(range(PARTITIONS), key=lambda n: ends[SALES.name, n])
        copied = await crafter.copy(SALES.name, partition)
        copied += await crafter.copy(SALES.name, partition, backwards=True)
        await crafter.copy(INTERACTIONS.name, partition)
        trial.repaired()
    after = await _repeats(rig)
    assert copied > 0
    assert {consumer: after[consumer] - before[consumer] for consumer in before} == dict.fromkeys(before, copied)


async def _repeats(rig: Rig) -> dict[str, float]:
    samples = await rig.samples()
    wanted = ("outcome", "duplicate")
    return {
        consumer: sum(
            value
            for (name, labels), value in samples[part].items()
            if name == telemetry.CONSUMED and {("consumer", consumer), ("topic", SALES.name), wanted} <= set(labels)
        )
        for consumer, part in READERS.items()
    }


@pytest.mark.timeout(600)
@pytest.mark.row("F24", "the last of three events comes first, then the relay closes the gap", "I1-I6 I8 I10")
async def test_an_event_that_comes_before_its_turn_waits_until_the_gap_is_closed(rig: Rig) -> None:
    async with rig.under_load(writers=2) as trial, Crafter.of(rig) as crafter:
        trial.replayed.add(SALES.name)
        trial.uncounted |= {"contacts", "sales", "analytics", "gateway"}
        await trial.settled(1)
        # A process that only answers becomes ready beside a worker, which reads the keys for it.
        async with member_of(rig.stack, "sales", "api", role="api") as api, rig.held("sales"):
            lead = await _three_events(rig, api)
            await _comes_first(rig, crafter.unpublished("sales", lead)[-1], crafter)
        await rig.is_back("sales")
        trial.repaired()
        await trial.settled(1)
    applied = [row.event.sequence for row in rig.reality.stored["sales"] if row.event.subject == lead]
    assert applied[:3] == [1, 2, 3]


async def _comes_first(rig: Rig, last: Crafted, crafter: Crafter) -> None:
    """Readers wait for what is missing before it, and say so."""
    before = await rig.reality.cursors()
    await crafter.send(last)
    await eventually(lambda: _gap_is_told(rig, last.partition), "the gap is told", within=GAUGES_WITHIN)
    now = await rig.reality.cursors()
    for consumer in readers_of(SALES.name) - OWN:
        key = (consumer, SALES.name, last.partition)
        assert now[key][1] == before[key][1], f"{consumer} applied what was not its turn"


async def _three_events(rig: Rig, api: Member) -> UUID:
    """Stored by a process that answers requests, while the one that relays is down."""
    headers = {"Authorization": f"Bearer {rig.door.token('sales')}"}
    async with aiohttp.ClientSession(api.url, headers=headers) as session:
        body = {"party": {"handle": uuid4().hex}, "source": "faults"}
        async with session.post("/leads", json=body) as captured:
            assert captured.status == 201, await captured.text()
            lead = (await captured.json())["id"]
        for path, then in (("qualify", {"score": 7}), ("disqualify", {"reason": "spam"})):
            async with session.post(f"/leads/{lead}/{path}", json=then) as answer:
                assert answer.status == 200, await answer.text()
    return UUID(lead)


async def _gap_is_told(rig: Rig, partition: int) -> bool:
    samples = await rig.samples_of("gateway")
    gap = (("consumer", CUSTOMERS), ("partition", str(partition)), ("topic", SALES.name))
    return samples.get(("crm_gap_open", gap)) == 1
