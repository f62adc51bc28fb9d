"""F22, F33: too few file descriptors, too many events."""

import asyncio
import resource
import time

import psutil
import pytest
from tests.faults import invariants
from tests.faults.flood import flood
from tests.faults.rig import Rig

FLOOD_SECONDS = 60
FLOOD_RECORDS = 12_000
FLOOD_BODY_BYTES = 8_000
GROWTH_BYTES = 64 * 1024 * 1024
"""What batches in flight may take; the flood itself is half as much again."""
DESCRIPTORS_LEFT = 2
STARVED_SECONDS = 10


@pytest.mark.row("F22", "one service may open no more files, 10 s", "I1-I8 I10")
async def test_a_service_without_file_descriptors_sheds_and_the_others_go_on(rig: Rig) -> None:
    async with rig.under_load() as trial:
        await trial.settled(1)
        process = psutil.Process(rig.stack.pid("sales"))
        limits = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        began = time.monotonic()
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (process.num_fds() + DESCRIPTORS_LEFT, limits[1]))
        try:
            await asyncio.gather(asyncio.sleep(STARVED_SECONDS), _many_reads(rig))
        finally:
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, limits)
        trial.repaired()
        invariants.others_noticed_nothing(trial.load, began, time.monotonic(), {"sales"})
        invariants.the_view_answered(trial.viewer, began, time.monotonic())
        await trial.settled(1)
        assert rig.stack.pid("sales") == process.pid, "it lived on"


async def _many_reads(rig: Rig) -> None:
    """As many connections at once as make a service open files."""
    answers = await asyncio.gather(*(rig.door.get("/api/leads", limit="1") for _ in range(60)))
    assert {answer.status for answer in answers} <= {200, 429, 503}


@pytest.mark.timeout(600)
@pytest.mark.row(
    "F33", f"five times more events than contacts can read, {FLOOD_SECONDS} s", "I1-I6 I8 I10, flat memory"
)
async def test_memory_stays_flat_when_producers_outrun_consumers(rig: Rig) -> None:
    async with rig.under_load(writers=2) as trial:
        await trial.settled(2)
        process = psutil.Process(rig.stack.pid("contacts"))
        before = process.memory_info().rss
        sampled: list[int] = []
        await flood(rig, trial.load, process, FLOOD_RECORDS, FLOOD_BODY_BYTES, FLOOD_SECONDS, sampled)
        trial.repaired()
        assert max(sampled) - before < GROWTH_BYTES, f"it grew by {(max(sampled) - before) >> 20} MiB"
