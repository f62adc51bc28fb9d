"""F38 and the last word: everything stops and starts in any order; everything dies at random for minutes."""

import asyncio
import os
import time

import pytest
from tests.faults.rig import Rig

from crm_local.errors import LocalStackError
from crm_local.plan import PARTS

STORM_SECONDS = 600 if os.environ.get("NIGHTLY") else 180
KILL_EVERY = 5.0


@pytest.mark.timeout(600)
@pytest.mark.row("F38", "all parts stop one by one, and start in another order", "I1-I6 I8 I10")
async def test_everything_stops_and_starts_in_any_order(rig: Rig) -> None:
    async with rig.under_load(writers=4, exact=False) as trial:
        down, up = list(PARTS), list(PARTS)
        rig.random.shuffle(down)
        rig.random.shuffle(up)
        for part in down:
            await asyncio.to_thread(rig.stack.hold, part)
        for part in up:
            rig.stack.let_start(part)
            await asyncio.sleep(rig.random.uniform(0, 1))
        for part in up:
            await rig.is_back(part, 120)
        trial.repaired()


@pytest.mark.timeout(1200)
@pytest.mark.row("storm", f"kill -9 of any process every {KILL_EVERY:.0f} s for {STORM_SECONDS} s", "I1-I6 I8 I10")
async def test_minutes_of_random_kills_lose_nothing_and_repeat_nothing(rig: Rig) -> None:
    killed: list[str] = []
    waiting: list[str] = []
    async with rig.under_load(exact=False) as trial:
        until = time.monotonic() + STORM_SECONDS
        while time.monotonic() < until:
            if not waiting:
                waiting = rig.random.sample(PARTS, len(PARTS))
            killed.append(await _kill_one(rig, waiting))
            trial.repaired()
            await asyncio.sleep(KILL_EVERY)
    assert len(killed) >= STORM_SECONDS / KILL_EVERY * 0.8, killed
    assert set(killed) == set(PARTS), f"nobody killed {set(PARTS) - set(killed)}"


async def _kill_one(rig: Rig, waiting: list[str]) -> str:
    """Kills the first of those that runs; everybody has his turn before anybody has another."""
    for part in list(waiting):
        try:
            await rig.kill(part)
        except LocalStackError:
            continue  # it is dead already, and comes up
        waiting.remove(part)
        return part
    await asyncio.sleep(KILL_EVERY / 5)
    return await _kill_one(rig, waiting)
