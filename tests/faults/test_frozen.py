"""F09, F17: a part neither answers nor dies."""

import asyncio
import os
import time

import pytest
from tests.faults import invariants
from tests.faults.rig import Rig

NIGHTLY = bool(os.environ.get("NIGHTLY"))
BROKER_SECONDS = (5, 60) if NIGHTLY else (5,)
DATABASE_SECONDS = 10


@pytest.mark.parametrize("seconds", BROKER_SECONDS)
@pytest.mark.row("F09", "SIGSTOP of the broker", "I1-I8 I10, commands are accepted meanwhile")
async def test_commands_are_accepted_while_the_broker_is_frozen(rig: Rig, seconds: int) -> None:
    async with rig.under_load() as trial:
        await trial.settled(1)
        began, before = time.monotonic(), dict(trial.load.acknowledged)
        async with rig.frozen("kafka"):
            await asyncio.sleep(seconds)
            accepted = [answer for n, answer in trial.load.acknowledged.items() if n not in before]
        trial.repaired()
        invariants.others_noticed_nothing(trial.load, began, time.monotonic(), set())
        invariants.the_view_answered(trial.viewer, began, time.monotonic())
        assert {answer.service for answer in accepted} == {"contacts", "sales", "service", "marketing"}


@pytest.mark.row("F17", f"SIGSTOP of PostgreSQL, {DATABASE_SECONDS} s", "I1-I8 I10, 503 with Retry-After, no 500")
async def test_commands_are_answered_with_later_while_postgresql_is_frozen(rig: Rig) -> None:
    async with rig.under_load(exact=False) as trial:
        await trial.settled(1)
        began = time.monotonic()
        async with rig.frozen("postgres"):
            await asyncio.sleep(DATABASE_SECONDS)
        trial.repaired()
        invariants.the_view_answered(trial.viewer, began, time.monotonic())
        away = {failure.what for failure in trial.load.failures if failure.at >= began}
        assert away == {"503"}, f"each command is answered, and with 503: {away}"
        await trial.settled(1)


@pytest.mark.row("F14", "SIGSTOP of MongoDB, 5 s", "I1-I6 I8 I10, commands are accepted meanwhile")
async def test_commands_are_accepted_while_mongodb_is_frozen(rig: Rig) -> None:
    async with rig.under_load(exact=False) as trial:
        await trial.settled(1)
        began, before = time.monotonic(), len(trial.load.acknowledged)
        async with rig.frozen("mongodb"):
            await asyncio.sleep(5)
            assert len(trial.load.acknowledged) > before, "the store is truth: it takes commands without the read side"
        trial.repaired()
        invariants.others_noticed_nothing(trial.load, began, time.monotonic(), set())
