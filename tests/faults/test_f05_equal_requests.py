"""F05: one command that fifty clients send at the same moment, and one key for two commands."""

import asyncio
from uuid import UUID, uuid4

import pytest
from tests.faults.rig import Rig

AT_ONCE = 50


@pytest.mark.quick
@pytest.mark.row(
    "F05", f"{AT_ONCE} equal requests at once; one key for two commands", "I1-I8 I10, one event, one answer"
)
async def test_equal_requests_at_once_are_carried_out_once(rig: Rig) -> None:
    lead = {"party": {"handle": uuid4().hex}, "source": "faults"}
    headers = {"Idempotency-Key": uuid4().hex}
    async with rig.under_load(writers=2):
        barrier = asyncio.Barrier(AT_ONCE)

        async def send() -> tuple[int, str, str]:
            await barrier.wait()
            reply = await rig.door.post("/api/leads", lead, role="sales", headers=headers)
            return reply.status, str(reply.body), reply.position

        answers = set(await asyncio.gather(*(send() for _ in range(AT_ONCE))))
        again = await rig.door.post("/api/leads", lead, role="sales", headers=headers)
        other = await rig.door.post("/api/leads", {**lead, "source": "other"}, role="sales", headers=headers)
    assert answers == {(201, str(again.body), again.position)}
    assert other.is_problem(422), other.body
    stored = [row.event for row in rig.reality.stored["sales"] if row.event.subject == UUID(again.id)]
    assert [event.data.type_name() for event in stored].count("crm.sales.LeadCaptured.v1") == 1
    assert not [e for e in stored if getattr(e.data, "source", "") == "other"]
