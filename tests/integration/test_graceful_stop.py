"""A process that is told to stop under load finishes what it began: no command fails, nothing happens twice."""

import asyncio
import os
from collections import Counter
from dataclasses import dataclass, field
from uuid import uuid4

import aiohttp
from at_rest import Accounts
from door import Door, eventually
from ledger import stored_events
from replaced import replaced

from crm_events.contacts import PartyResolved
from crm_events.sales import LeadCaptured, LeadLinked
from crm_events.topics import SALES

STOPS = 10 if os.environ.get("NIGHTLY") else 3
CLIENTS = 16
ENDS_WITHIN = 15.0
SENT_BETWEEN = 60
"""Commands that are answered between two stops at least."""


@dataclass
class Clients:
    """Send leads, each until it is answered, as long as they are told to."""

    crm: Door
    run: str = field(default_factory=lambda: uuid4().hex)
    acknowledged: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    finished: bool = False

    async def work(self) -> None:
        while not self.finished:
            self.sent += 1
            await self._send(f"{self.run}-{self.sent}")

    async def _send(self, name: str) -> None:
        lead = {"party": {"email": f"{name}@example.org"}, "source": "graceful stop"}
        while True:
            reply = await self.crm.post("/api/leads", lead, role="sales", headers={"Idempotency-Key": name})
            if reply.status == 201:
                self.acknowledged.append(reply.id)
                return
            assert reply.is_problem(503), f"only 'later' is an answer to a good command: {reply.body}"
            self.refused[reply.body["detail"]] += 1
            await asyncio.sleep(min(0.2, float(reply.headers["Retry-After"])))

    async def have_sent(self, more: int) -> None:
        goal = len(self.acknowledged) + more

        async def enough() -> bool:
            return len(self.acknowledged) >= goal

        await eventually(enough, f"{more} more commands are answered", within=60)


async def test_stopped_under_load_it_tears_nothing_and_repeats_nothing(crm: Door, accounts: Accounts) -> None:
    before = await accounts.at_rest()
    clients = Clients(crm)
    async with replaced(crm.stack, "sales") as sales:
        await sales.start()
        working = [asyncio.create_task(clients.work()) for _ in range(CLIENTS)]
        try:
            for _ in range(STOPS):
                await clients.have_sent(SENT_BETWEEN)
                ending = await sales.terminate(ENDS_WITHIN)
                assert ending.exit_code == 0
                await sales.start()
            await clients.have_sent(SENT_BETWEEN)
        finally:
            clients.finished = True
            await asyncio.gather(*working)
        after = await accounts.at_rest()
        assert (await sales.terminate(ENDS_WITHIN)).exit_code == 0

    mine = set(clients.acknowledged)
    assert len(mine) == clients.sent, "every command made a lead of its own"
    sales_events = [event for _, event in stored_events(crm.stack, "sales")]
    contacts_events = [event for _, event in stored_events(crm.stack, "contacts")]
    captured = Counter(str(e.subject) for e in sales_events if isinstance(e.data, LeadCaptured))
    linked = Counter(str(e.subject) for e in sales_events if isinstance(e.data, LeadLinked))
    answered = Counter(str(e.data.cause_id) for e in contacts_events if isinstance(e.data, PartyResolved))
    for what, counts in (("stored", captured), ("linked", linked), ("answered", answered)):
        assert {counts[lead] for lead in mine} == {1}, f"every acknowledged lead is {what} once"
    published = after.records(SALES.name) - before.records(SALES.name)
    assert published == 2 * len(mine), "captured and linked: nothing is published twice either"


async def test_while_it_is_down_the_gateway_says_so_at_once_and_when_to_come_back(crm: Door) -> None:
    async with replaced(crm.stack, "sales"):
        async with asyncio.timeout(5):
            refusals = [await crm.get("/api/leads", role="sales") for _ in range(20)]
    for refusal in refusals:
        assert refusal.is_problem(503)
        assert 1 <= int(refusal.headers["Retry-After"]) <= 3
    await eventually(lambda: _answers(crm), "sales is served again", within=10)


async def _answers(crm: Door) -> bool:
    try:
        return (await crm.get("/api/leads", role="sales")).status == 200
    except aiohttp.ClientError:
        return False
