"""F36: an erasure goes its way whatever else goes on, what parks the person's ticket and whoever dies meanwhile."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from command_line import crm_command
from person import Person, ask_for_erasure, erasure_completed, erasure_of
from tests.faults.crafting import Crafted, Crafter
from tests.faults.poison import Lot, Operator, owner_of, readers_of
from tests.faults.rig import Rig

from crm_events.topics import SERVICE
from crm_platform.partitioning import key_of, partition_of

READ_MODEL = "gateway.customers"
DIE = ("contacts", "sales", "gateway", "kafka")
WAITED_FOR = "analytics"
"""It is down until all the others have died once, so the erasure cannot have been completed before."""


@pytest.mark.timeout(900)
@pytest.mark.row(
    "F36",
    "an erasure during a rebuild, a ticket of the person parked; contacts, sales, gateway and the broker killed",
    "I1-I6 I8 I10, it completes, nothing personal is shown, counts unchanged",
)
async def test_an_erasure_completes_whoever_dies_meanwhile(rig: Rig) -> None:
    ada = Person(rig.door)
    await ada.tells()
    await rig.rests()
    before = await ada.view()
    async with rig.under_load() as trial:
        lots = await _parked(rig, ada)
        # A retry makes a batch under way begin again: some records are read, and counted, twice.
        trial.uncounted |= {owner_of(consumer) for consumer, _, _ in lots}
        rebuilding = asyncio.create_task(_rebuilt(rig))
        async with rig.held(WAITED_FOR):
            (await ask_for_erasure(rig.door, ada.contact_id, "maya.lind")).expect(202)
            (await ask_for_erasure(rig.door, ada.contact_id, "jon.abbott")).expect(202)
            for part in DIE:
                await rig.kill(part)
                await rig.is_back(part)
            erasure = await erasure_of(rig.door, ada.contact_id)
            assert (erasure["state"], WAITED_FOR in erasure["waits_for"]) == ("erasing", True)
        await rig.is_back(WAITED_FOR)
        await erasure_completed(rig.door, ada.contact_id)
        await rebuilding
        await _back_to_the_first_generation(rig)
        assert await rig.reality.parked() == lots, "the parked ticket has held nothing up, and nothing was lost of it"
        shown = await _resolved(rig, lots)
        trial.repaired()
        await trial.settled(1)
    after = await ada.view()
    assert (after["erased"], after["profile"], after["totals"]) == (True, None, before["totals"])
    assert [ticket["status"] for ticket in after["tickets"]] == ["resolved"], "what had waited is there"
    told = str([after, *shown, *await _told(rig, ada)])
    assert not [words for words in (*ada.words.values(), ada.email) if words in told]


async def _parked(rig: Rig, ada: Person) -> set[Lot]:
    """Somebody's record under the key of her ticket parks it everywhere; what happens to it later waits behind."""
    ticket = UUID(ada.ticket_id)
    async with Crafter.of(rig) as crafter:
        partition = partition_of(ticket, SERVICE.partitions)
        await crafter.write(Crafted(SERVICE.name, key_of(ticket), b"a stranger's", partition=partition))
    lots = {(consumer, SERVICE.name, ada.ticket_id) for consumer in readers_of(SERVICE.name)}
    await rig.are_parked(lots)
    note = {"note": ada.words["body"]}
    (await rig.door.post(f"/api/tickets/{ada.ticket_id}/resolve", note, role="service")).expect(200)
    return lots


async def _resolved(rig: Rig, lots: set[Lot]) -> list[Any]:
    """The stranger's record is given up, and what waited behind it applied; returns what an operator saw of it."""
    operator, shown = Operator(rig.door), []
    for lot in sorted(lots):
        shown.append(await operator.shown(lot))
        assert (await operator.discard(lot, everything=False))["remaining"] == 1
        assert (await operator.retry(lot))["remaining"] == 0
    return shown


async def _rebuilt(rig: Rig) -> None:
    """Called again until it is done."""
    while (await crm_command(rig.stack, "rebuild", READ_MODEL)).code:
        await asyncio.to_thread(rig.stack.wait_until_ready, "gateway")


async def _back_to_the_first_generation(rig: Rig) -> None:
    """At which the checker looks."""
    for option in ("--rollback", "--drop"):
        done = await crm_command(rig.stack, "rebuild", READ_MODEL, option)
        assert done.code == 0, done


async def _told(rig: Rig, ada: Person) -> list[Any]:
    answers = [
        await rig.door.get(f"/api/contacts/{ada.contact_id}", role="sales"),
        await rig.door.get(f"/api/leads/{ada.lead_id}", role="sales"),
        await rig.door.get(f"/api/tickets/{ada.ticket_id}", role="service"),
        await rig.door.get(f"/api/customers/{ada.contact_id}/history", role="sales"),
        await rig.door.get(f"/api/customers/{ada.contact_id}/timeline", role="sales"),
        await ada.export(),
    ]
    return [answer.expect(200).body for answer in answers]
