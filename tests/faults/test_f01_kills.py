"""F01, F08, F14, F17: each process in turn is killed under load, again and again."""

import os
import time

import pytest
from tests.faults import invariants
from tests.faults.rig import Rig

KILLS = 20 if os.environ.get("NIGHTLY") else 4
INJECTED = f"kill -9, {KILLS} times under load"
SERVICES = ("contacts", "sales", "service", "marketing", "analytics", "analytics-stream")


def _row(number: str, part: str, checked: str) -> object:
    return pytest.param(part, id=part, marks=pytest.mark.row(number, INJECTED, checked))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", [_row("F01", part, "I1-I8 I10") for part in SERVICES])
async def test_a_service_that_is_killed_again_and_again_costs_nothing(rig: Rig, part: str) -> None:
    async with rig.under_load() as trial:
        await rig.kill_again_and_again(trial, part, KILLS)
    invariants.others_noticed_nothing(trial.load, trial.began, time.monotonic(), {part})
    invariants.the_view_answered(trial.viewer, trial.began, time.monotonic())


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "part",
    [
        _row("F01", "gateway", "I1-I6 I8 I10"),
        _row("F08", "kafka", "I1-I8 I10"),
        _row("F14", "mongodb", "I1-I6 I8 I10"),
        _row("F17", "postgres", "I1-I6 I8 I10, 503 and no 500"),
    ],
)
async def test_what_all_depend_on_is_killed_again_and_again_and_costs_nothing(rig: Rig, part: str) -> None:
    async with rig.under_load(exact=part in ("gateway", "kafka")) as trial:
        await rig.kill_again_and_again(trial, part, KILLS)
    if part == "kafka":
        invariants.the_view_answered(trial.viewer, trial.began, time.monotonic())
