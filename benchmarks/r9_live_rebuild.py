"""R9: the customer view is rebuilt over a million events, while people write and read.

Readers look at customers again and again, each in the way of one client: no answer may be an error, and no position
that an answer tells may be behind one that an answer before it told, whoever got that.
"""

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.comparison import Spread
from benchmarks.gateway_view import GatewayView
from benchmarks.history import fill
from benchmarks.interactions_history import EACH, rows
from benchmarks.progress import say
from benchmarks.results import Figure, Target
from benchmarks.site import Site
from crm_gateway.projections.totals import CustomerTotals

EVENTS = 1_000_000
COMMANDS_A_SECOND = 200
READERS = 4
LOOKS_A_SECOND = 20
"""Of each reader, at most."""
PEOPLE = 20_000
"""Whom the leads are about, so that no customer gets more of them than a person has."""
_POLL = 1.0
_TOLD_EVERY = 30.0
_ARRIVES_WITHIN = 1_200.0


@dataclass
class Seen:
    """What readers have been answered: the furthest position of each partition, and what was wrong."""

    furthest: dict[tuple[str, str], int] = field(default_factory=dict)
    reads: int = 0
    slowest: float = 0.0
    errors: list[str] = field(default_factory=list)
    """Of reads."""
    refused: list[str] = field(default_factory=list)
    """Commands that were not taken, and what was said."""
    steps_back: int = 0

    def take(self, before: dict[tuple[str, str], int], answer: dict[str, Any], seconds: float) -> None:
        """`before` is what had been seen when the question was asked."""
        self.reads += 1
        self.slowest = max(self.slowest, seconds)
        for section in answer["freshness"].values():
            for partition, position in section["position"].items():
                place = (section["topic"], partition)
                self.steps_back += position < before.get(place, 0)
                self.furthest[place] = max(position, self.furthest.get(place, 0))


async def measure(site: Site) -> Sequence[Figure]:
    await asyncio.to_thread(fill, site.addresses.postgres_uri("contacts"), rows(EVENTS // EACH))
    async with GatewayView.open(site) as view:
        await _arrived(view)
        lead, position = await view.post("/api/leads", _lead(0))
        customer = await view.get("/api/customers", after=position, email="rebuilt-0@example.org")
        say(f"  lead {lead['id']} is shown; the rebuild begins")
        seen, commands = Seen(), list[float]()
        tasks = [
            asyncio.create_task(_write(view, commands, seen)),
            asyncio.create_task(_tell(commands, seen)),
            *(asyncio.create_task(_read(view, customer["contact_id"], seen)) for _ in range(READERS)),
        ]
        began = time.perf_counter()
        await _rebuild(site)
        seconds = time.perf_counter() - began
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    _say_what_was_seen(commands, seen)
    return [
        _figure("R9_errors", "reads that failed during the rebuild", len(seen.errors), Target(0, True)),
        _figure("R9_refused", "commands that were refused during the rebuild", len(seen.refused)),
        _figure("R9_steps_back", "answers behind an earlier one during the rebuild", seen.steps_back, Target(0, True)),
        _figure(
            "R9_rate", f"rebuilt events a second beside {len(commands) / seconds:.0f} commands/s", EVENTS / seconds
        ),
        _figure("R9_slowest_read_s", f"slowest of {seen.reads} reads meanwhile (s)", seen.slowest),
    ]


def _figure(name: str, measure: str, value: float, target: Target | None = None) -> Figure:
    return Figure(name, measure, Spread.of([value]), target)


async def _arrived(view: GatewayView) -> None:
    """The gateway has applied the whole history, as its totals tell."""
    async with asyncio.timeout(_ARRIVES_WITHIN):
        while (applied := await _interactions(view)) < EVENTS:
            say(f"  {applied:,} of {EVENTS:,} events have arrived")
            await asyncio.sleep(_POLL * 10)


async def _interactions(view: GatewayView) -> int:
    total = [{"$group": {"_id": None, "interactions": {"$sum": "$interactions"}}}]
    found = await view.records(CustomerTotals).aggregate(total).to_list(1)
    return int(found[0]["interactions"]) if found else 0


def _lead(number: int) -> dict[str, object]:
    person = number % PEOPLE
    return {"party": {"email": f"rebuilt-{person}@example.org", "name": "Ada Byron"}, "source": "web"}


async def _write(view: GatewayView, accepted: list[float], seen: Seen) -> None:
    """Leads at a fixed rate, whatever becomes of them."""
    began, number = time.perf_counter(), 0
    async with asyncio.TaskGroup() as commands:
        while True:
            number += 1
            await asyncio.sleep(max(0.0, began + number / COMMANDS_A_SECOND - time.perf_counter()))
            commands.create_task(_capture(view, number, accepted, seen))


async def _capture(view: GatewayView, number: int, accepted: list[float], seen: Seen) -> None:
    try:
        await view.post("/api/leads", _lead(number))
    except (RuntimeError, OSError) as refusal:
        seen.refused.append(str(refusal))
    else:
        accepted.append(time.perf_counter())


async def _read(view: GatewayView, contact: str, seen: Seen) -> None:
    while True:
        await asyncio.sleep(1 / LOOKS_A_SECOND)
        before, began = dict(seen.furthest), time.perf_counter()
        try:
            seen.take(before, await view.get(f"/api/customers/{contact}"), time.perf_counter() - began)
        except (RuntimeError, OSError) as refusal:
            seen.errors.append(str(refusal))


async def _tell(accepted: Sequence[float], seen: Seen) -> None:
    while True:
        await asyncio.sleep(_TOLD_EVERY)
        _say_what_was_seen(accepted, seen)


def _say_what_was_seen(accepted: Sequence[float], seen: Seen) -> None:
    say(
        f"  {len(accepted):,} commands and {seen.reads:,} reads answered meanwhile;"
        f" {len(seen.refused)} and {len(seen.errors)} failed, {seen.steps_back} behind an earlier one"
    )
    for failure in (*seen.refused[-1:], *seen.errors[-1:]):
        say(f"    the last: {failure}")


async def _rebuild(site: Site) -> None:
    """As an operator does it. Raises RuntimeError if it is refused."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "crm_local", "rebuild", "gateway.customers"),
        env={**os.environ, "CRM_LOCAL_DIR": str(site.stack.folder.root)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    async for line in process.stdout:
        say(f"  {line.decode().rstrip()}")
    if await process.wait():
        raise RuntimeError("the rebuild failed; it said why above")
