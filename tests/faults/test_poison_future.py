"""F25: events of a release that is not deployed here yet."""

from uuid import UUID, uuid4

import psycopg
import pytest
from tests.faults import telemetry
from tests.faults.crafting import Crafter, document
from tests.faults.poison import CUSTOMERS, KPIS, LEADS, Operator, handlers_of
from tests.faults.rig import Rig

from crm_platform.partitioning import key_of

DISQUALIFIED, QUALIFIED = "crm.sales.LeadDisqualified.v1", "crm.sales.LeadQualified.v1"
AT = {"occurred_at": "2026-03-01T10:00:00Z"}


@pytest.mark.row("F25", "a later release adds a member", "I1-I6 I8 I10, read as if it were not there")
async def test_a_member_that_a_later_release_adds_is_passed_over(rig: Rig) -> None:
    body = {"party": {"handle": uuid4().hex}, "source": "faults"}
    lead = UUID((await rig.door.post("/api/leads", body, role="sales")).expect(201).id)
    await rig.rests()
    with psycopg.connect(rig.stack.addresses.postgres_uri("sales"), autocommit=True) as newer_release:
        last = newer_release.execute(
            "SELECT max(originator_version) FROM store_events WHERE originator_id = %s", (lead,)
        ).fetchone()
        assert last is not None
        state = document(lead, QUALIFIED, {**AT, "score": 61, "confidence": {"percent": 80}}, last[0] + 1)
        newer_release.execute(
            "INSERT INTO store_events (originator_id, originator_version, topic, state) VALUES (%s, %s, %s, %s)",
            (lead, last[0] + 1, QUALIFIED, state),
        )
    async with rig.under_load(writers=2):
        pass
    kinds = [row.event.data.type_name() for row in rig.reality.stored["sales"] if row.event.subject == lead]
    assert kinds[-1] == QUALIFIED, "it is among what the read models were compared with"


@pytest.mark.row(
    "F25", "an enum member, a new type, a renamed one, later versions", "I1-I6 I8 I10, unknown types are counted"
)
async def test_what_this_release_cannot_read_parks_its_key_and_what_it_never_heard_of_is_counted(rig: Rig) -> None:
    await rig.rests()
    await rig.reality.refresh()
    moved, ninth, second = uuid4(), uuid4(), uuid4()
    before = await _unknown(rig)
    async with Crafter.of(rig) as crafter:
        await crafter.write(
            crafter.true("sales", moved, DISQUALIFIED, {**AT, "reason": "moved_to_mars"}),
            crafter.true("sales", uuid4(), "crm.sales.LeadCloned.v1", {**AT, "of": str(uuid4())}),
            crafter.true("sales", uuid4(), "crm.sales.ProspectQualified.v1", {**AT, "score": 1}),
            crafter.true("sales", ninth, "crm.sales.LeadQualified.v9", {**AT, "grade": "A"}),
            crafter.true("service", second, "crm.service.TicketReplied.v2", {**AT, "words": "hello"}),
        )
    poisoned = {
        *((consumer, "crm.sales", key_of(moved).decode()) for consumer in handlers_of("crm.sales", DISQUALIFIED)),
        *((consumer, "crm.sales", key_of(ninth).decode()) for consumer in handlers_of("crm.sales", QUALIFIED)),
        *(
            (consumer, "crm.service", key_of(second).decode())
            for consumer in handlers_of("crm.service", "crm.service.TicketReplied.v1")
        ),
    }
    async with rig.under_load(writers=2) as trial:
        trial.poisoned |= poisoned
        operator = Operator(rig.door)
        await trial.settled(1)
        await rig.are_parked(poisoned)
        for lot in poisoned:
            again = await operator.retry(lot)
            assert (again["applied"], again["remaining"]) == (0, 1), "no retry on this release makes it readable"
    reads_later_versions = handlers_of("crm.sales", QUALIFIED)
    expected = {name: seen + 2 + (name not in reads_later_versions) for name, seen in before.items()}
    assert await _unknown(rig) == expected, "to who handles no version of it, a ninth is a new type as well"
    await operator.discard_all(poisoned)
    await rig.falls_quiet()


async def _unknown(rig: Rig) -> dict[str, float]:
    """How many events of unknown types each consumer of crm.sales has counted."""
    samples = await rig.samples()
    return {
        consumer: telemetry.of_consumer(samples[part], "crm_unknown_events_total", consumer, "crm.sales")
        for part, consumer in (("sales", LEADS), ("gateway", CUSTOMERS), ("analytics", KPIS))
    }
