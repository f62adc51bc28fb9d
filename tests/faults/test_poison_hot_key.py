"""F28, F29 on the platform: a poisoned key at the head of a hot partition, and its end while the key stays hot."""

from uuid import UUID

import pytest
from door import eventually
from tests.faults import telemetry
from tests.faults.crafting import Crafter
from tests.faults.poison import Operator, handlers_of, owner_of
from tests.faults.rig import GAUGES_WITHIN, HEALS_WITHIN, Rig

from crm_platform.partitioning import key_of

REPLIED = "crm.service.TicketReplied.v1"
LATER = "crm.service.TicketReplied.v2"
TICKET = {"party": {"handle": "hot and poisoned"}, "channel": "email", "subject": "the hot key"}


@pytest.mark.quick
@pytest.mark.row(
    "F28 F29", "a later version at the head of the hot key, then its discard and a retry under load", "I1-I8 I10"
)
async def test_a_poisoned_hot_key_waits_alone_and_keeps_its_order(rig: Rig) -> None:
    ticket = UUID((await rig.door.post("/api/tickets", TICKET, role="service")).expect(201).id)
    await rig.rests()
    await rig.reality.refresh()
    async with Crafter.of(rig) as crafter:
        await crafter.write(crafter.true("service", ticket, LATER, {"words": "hello"}, sequence=99))
    poisoned = {(consumer, "crm.service", key_of(ticket).decode()) for consumer in handlers_of("crm.service", REPLIED)}
    operator = Operator(rig.door)
    async with rig.under_load() as trial:
        trial.load.hot_ticket = ticket
        # A retry makes a batch under way begin again: some records are read, and counted, twice.
        trial.uncounted |= {owner_of(consumer) for consumer, _, _ in poisoned}
        await rig.are_parked(poisoned)
        await trial.settled(2)
        assert await rig.reality.parked() == poisoned, "I8: exactly the poisoned key"
        await eventually(lambda: _only_the_parked_keys_are_told(rig, poisoned), "I10", within=GAUGES_WITHIN)
        for lot in sorted(poisoned):
            events = (await operator.shown(lot))["events"]
            assert len(events) > 1, "what came later waits behind it"
            assert events[0]["event_type"] == LATER
            assert [event["reason"] is None for event in events] == [False] + [True] * (len(events) - 1)
            await operator.discard(lot, everything=False)
            assert (await operator.retry(lot))["remaining"] == 0
        await trial.settled(1)
        trial.repaired()
        await eventually(lambda: _lots_are_empty(rig), "nothing is parked any more", within=HEALS_WITHIN)
        await trial.settled(1)


async def _only_the_parked_keys_are_told(rig: Rig, poisoned: set[tuple[str, str, str]]) -> bool:
    """While load runs: whoever has parked a key says so, and none says that it stands, has a gap or lost anything."""
    parked = {consumer: 1 for consumer, _, _ in poisoned}
    samples = await rig.samples()
    at_work = ("crm_consumer_lag_events", "crm_relay_lag_seconds")
    told = {consumer for found in samples.values() for consumer in telemetry.consumers_that_say(found)}
    noise = [line for line in telemetry.loud(samples, parked) if not any(name in line for name in at_work)]
    return told == set(parked) and not noise


async def _lots_are_empty(rig: Rig) -> bool:
    return not await rig.reality.parked()
