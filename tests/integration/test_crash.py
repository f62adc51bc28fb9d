"""Processes die in the middle of the work; nothing is lost and nothing happens twice."""

import asyncio
from collections import Counter
from uuid import uuid4

import aiohttp
from door import Door, eventually
from ledger import READ_MODELS, behind, folded_documents, kept_documents, stored_events

from crm_events.contacts import PartyResolved
from crm_events.sales import LeadCaptured, LeadLinked
from crm_platform.projection import Projection

LEADS = 1_400
"""Each becomes four published events: captured, registered (for most), resolved, linked."""
AT_ONCE = 16
HEALS_WITHIN = 60.0
"""Seconds from a kill until the process answers, and has caught up with a cursor that the dead one may still hold."""


class Clients:
    """Many clients that send leads until each is answered, always with the same key: all that a client has to do."""

    def __init__(self, crm: Door) -> None:
        self._crm = crm
        self._run = uuid4().hex
        self._waiting = list(range(LEADS))
        self.acknowledged: dict[int, str] = {}

    async def work(self) -> None:
        while self._waiting:
            n = self._waiting.pop()
            while n not in self.acknowledged:
                await self._try(n)

    async def _try(self, n: int) -> None:
        lead = {"party": {"email": f"{self._run}-{n % 1_000}@example.org"}, "source": f"crash {n % 7}"}
        try:
            key = {"Idempotency-Key": f"{self._run}-{n}"}
            reply = await self._crm.post("/api/leads", lead, role="sales", headers=key)
        except aiohttp.ClientError:
            await asyncio.sleep(0.1)  # the gateway is being started again; a client backs off
            return
        if reply.status == 201:
            self.acknowledged[n] = reply.id
        else:
            assert reply.is_problem(503), f"only 'later' is an answer to a good command: {reply.body}"
            await asyncio.sleep(float(reply.headers["Retry-After"]))

    async def have_done(self, share: float) -> None:
        async def enough() -> bool:
            return len(self.acknowledged) >= share * LEADS

        await eventually(enough, f"{share:.0%} of the commands are answered", within=120)


async def test_killed_services_lose_nothing_and_repeat_nothing(crm: Door) -> None:
    clients = Clients(crm)

    async def kill_one_after_the_other() -> None:
        for part, share in (("contacts", 0.2), ("sales", 0.4), ("gateway", 0.6)):
            await clients.have_done(share)
            await asyncio.to_thread(crm.stack.kill, part)
            await asyncio.to_thread(crm.stack.wait_until_ready, part, HEALS_WITHIN)

    await asyncio.gather(kill_one_after_the_other(), *(clients.work() for _ in range(AT_ONCE)))
    mine = set(clients.acknowledged.values())
    assert len(mine) == LEADS, "every command made a lead of its own"

    async def all_are_linked() -> bool:
        events = await asyncio.to_thread(stored_events, crm.stack, "sales")
        return {str(e.subject) for _, e in events if isinstance(e.data, LeadLinked)} >= mine

    await eventually(all_are_linked, "contacts answers every lead, and sales links it", within=120, every=1)

    sales = [event for _, event in stored_events(crm.stack, "sales")]
    contacts = [event for _, event in stored_events(crm.stack, "contacts")]
    captured = Counter(str(e.subject) for e in sales if isinstance(e.data, LeadCaptured))
    linked = Counter(str(e.subject) for e in sales if isinstance(e.data, LeadLinked))
    answered = Counter(str(e.data.cause_id) for e in contacts if isinstance(e.data, PartyResolved))
    for what, counts in (("stored", captured), ("linked", linked), ("answered", answered)):
        assert {counts[lead] for lead in mine} == {1}, f"every acknowledged lead is {what} once"

    for service, projection in READ_MODELS:
        await _has_read_all(crm, service, projection)
        kept = await asyncio.to_thread(kept_documents, crm.stack.addresses.mongodb_uri, service, projection)
        folded = await asyncio.to_thread(folded_documents, crm.stack, projection)
        assert kept == folded, f"{projection.identity} is not the fold of the stored events"


async def _has_read_all(crm: Door, service: str, projection: Projection) -> None:
    async def caught_up() -> bool:
        return not await asyncio.to_thread(behind, crm.stack, service, projection)

    await eventually(caught_up, f"{projection.identity} catches up", within=60, every=0.5)
