"""F15, F16: the primary of the read models' database steps down, or falls silent in the middle of a write.

The log is read anew here, from its beginning, so these rows come before those of test_poison_*.py, which leave a
stranger's records in it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from door import eventually
from tests.faults.members import member_of
from tests.faults.replica_set import MEMORY_NEEDED, ReplicaSet, replica_set, step_down
from tests.faults.rig import HEALS_WITHIN, Rig, Trial

from crm_analytics.projections import Kpis

STEPDOWNS = 3
DOWN_SECONDS = 3
SILENT_SECONDS = 12
PART = "analytics"


@pytest_asyncio.fixture(loop_scope="session")
async def trio(tmp_path: Path) -> AsyncIterator[ReplicaSet]:
    if psutil.virtual_memory().available < MEMORY_NEEDED:
        pytest.skip(f"three mongod need {MEMORY_NEEDED >> 20} MiB of memory")
    async with replica_set(tmp_path) as members:
        yield members


@pytest.mark.row("F15", f"the lone member steps down {STEPDOWNS} times", "I1-I6 I8 I10")
async def test_a_lone_member_that_steps_down_costs_nothing(rig: Rig) -> None:
    async with rig.under_load(exact=False) as trial:
        for _ in range(STEPDOWNS):
            await trial.settled(1)
            await step_down(rig.stack.addresses.mongodb_uri, DOWN_SECONDS)
            await asyncio.sleep(DOWN_SECONDS)
            trial.repaired()


@pytest.mark.row("F15", f"the primary of three steps down {STEPDOWNS} times", "I3 I5 I6 on the three, I1-I6 I8 I10")
async def test_a_primary_of_three_that_steps_down_costs_nothing(rig: Rig, trio: ReplicaSet) -> None:
    async with rig.under_load() as trial:
        async with _read_into(rig, trial, trio):
            for _ in range(STEPDOWNS):
                await trial.settled(2)
                await trio.step_down()
        trial.repaired()


@pytest.mark.row("F16", f"SIGSTOP of the primary of three, {SILENT_SECONDS} s", "I3 I5 I6 on the three, I1-I6 I8 I10")
async def test_a_primary_of_three_that_falls_silent_leaves_no_phantom(rig: Rig, trio: ReplicaSet) -> None:
    async with rig.under_load() as trial:
        async with _read_into(rig, trial, trio):
            await trial.settled(2)
            frozen = await trio.freeze_primary()
            await asyncio.sleep(SILENT_SECONDS)
            frozen.resume()
            await trial.settled(2)
        trial.repaired()


@asynccontextmanager
async def _read_into(rig: Rig, trial: Trial, members: ReplicaSet) -> AsyncIterator[None]:
    """The KPIs are read anew, into the three members, by a worker in the place of the stack's own."""
    async with rig.held(PART), member_of(rig.stack, PART, "0", CRM_MONGODB_URI=members.uri):
        yield
        await trial.stop_load()
        await eventually(lambda: _is_the_fold(rig, members.uri), "the KPIs are the fold", within=HEALS_WITHIN, every=1)
    await rig.is_back(PART)


async def _is_the_fold(rig: Rig, uri: str) -> bool:
    await rig.reality.refresh()
    (fold,) = (fold for fold in rig.reality.folds if isinstance(fold.projection, Kpis))
    return await rig.reality.kept(fold, uri) == fold.rows
