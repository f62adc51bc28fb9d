"""R5: from a command's answer until the customer view shows what it did, at 100 commands a second, open loop."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from statistics import quantiles
from uuid import UUID, uuid4

from benchmarks.comparison import RUNS, Spread
from benchmarks.gateway_view import Change, GatewayView, Seen
from benchmarks.progress import say
from benchmarks.results import Figure, Target
from benchmarks.site import Site
from crm_events.contacts import party_stream
from crm_gateway.projections.leads import LeadRecord
from crm_gateway.projections.opportunities import OpportunityRecord
from crm_gateway.projections.parties import PartyLink

DEALS = 300
RATE = 100
SECONDS = 10
STAGES = ("proposal", "negotiation", "discovery")
_VISIBLE_WITHIN = 60.0
_POLL = 0.02

Send = Callable[[int], Awaitable[set[Change]]]
"""Sends a command by its number; returns the changes that the view will show of it."""


async def measure(site: Site) -> Sequence[Figure]:
    """Stage moves of linked opportunities show with their own record; new leads with contacts' answer, too."""
    linked, asking = list[list[float]](), list[list[float]]()
    async with GatewayView.open(site) as view:
        deals = [await _deal(view, number) for number in range(DEALS)]

        async def move(number: int) -> set[Change]:
            """Every deal in its turn into its next stage."""
            turn, deal = divmod(number, DEALS)
            moved, _ = await view.post(f"/api/opportunities/{deals[deal]}/stage", {"stage": STAGES[turn % len(STAGES)]})
            return {Change(OpportunityRecord.collection, moved["id"], moved["version"])}

        async def capture(number: int) -> set[Change]:
            """Another lead of somebody who is known."""
            lead, _ = await view.post("/api/leads", _lead(number % DEALS))
            answer = str(party_stream(UUID(lead["id"])))
            return {Change(LeadRecord.collection, lead["id"], 1), Change(PartyLink.collection, answer, 1)}

        for number in range(RUNS):
            first = number * RATE * SECONDS
            linked.append(await _open_loop(view, move, first))
            asking.append(await _open_loop(view, capture, first))
            say(f"  {number + 1}/{RUNS} linked: {_told(linked[-1])}; with contacts' answer: {_told(asking[-1])}")
    text = f"from a command's answer to the customer view at {RATE} commands/s, "
    return [
        Figure("R5_p50_ms", text + "record already linked, p50", _spread(linked, 50), Target(40, True, " ms")),
        Figure("R5_p99_ms", text + "record already linked, p99", _spread(linked, 99), Target(150, True, " ms")),
        Figure("R5_answer_p50_ms", text + "contacts' answer needed, p50 (ms)", _spread(asking, 50), None),
        Figure("R5_answer_p99_ms", text + "contacts' answer needed, p99 (ms)", _spread(asking, 99), None),
    ]


def _lead(person: int) -> dict[str, object]:
    return {"party": {"email": f"deal-{person}@example.org", "name": "Ada Byron"}, "source": "web"}


async def _deal(view: GatewayView, person: int) -> str:
    """An open opportunity whose lead is linked to its contact; its id."""
    lead, _ = await view.post("/api/leads", _lead(person))
    await view.post(f"/api/leads/{lead['id']}/qualify", {"score": 80})
    _, position = await view.post(
        f"/api/leads/{lead['id']}/convert", {"title": uuid4().hex, "value": {"amount": "100.00", "currency": "EUR"}}
    )
    customer = await view.get(
        "/api/customers", email=f"deal-{person}@example.org", after=f"{position} {party_stream(UUID(lead['id']))}@1"
    )
    return str(customer["opportunities"][0]["id"])


async def _open_loop(view: GatewayView, send: Send, first: int) -> list[float]:
    """Send commands at a fixed rate whatever becomes of them; the milliseconds from answer to visible, of each."""
    kinds = (OpportunityRecord, LeadRecord, PartyLink)
    accepted: list[tuple[float, set[Change]]] = []

    async def one(number: int) -> None:
        changes = await send(number)
        accepted.append((time.perf_counter(), changes))

    async with view.changes(kinds) as seen:
        began = time.perf_counter()
        async with asyncio.TaskGroup() as commands:
            for n in range(RATE * SECONDS):
                await asyncio.sleep(max(0.0, began + n / RATE - time.perf_counter()))
                commands.create_task(one(first + n))
        async with asyncio.timeout(_VISIBLE_WITHIN):
            return [1000 * max(0.0, await _visible(seen, changes) - at) for at, changes in accepted]


async def _visible(seen: Seen, changes: set[Change]) -> float:
    """When the view showed all of them; waits until it does."""
    while None in (times := [seen.at(change) for change in changes]):
        await asyncio.sleep(_POLL)  # what is seen is added meanwhile
    return max(at for at in times if at is not None)


def _percentile(values: Sequence[float], percent: int) -> float:
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def _spread(runs: Sequence[Sequence[float]], percent: int) -> Spread:
    return Spread.of([_percentile(run, percent) for run in runs])


def _told(run: Sequence[float]) -> str:
    return f"p50 {_percentile(run, 50):.0f} ms, p99 {_percentile(run, 99):.0f} ms"
