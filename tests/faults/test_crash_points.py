"""F02, F03, F04: a process dies exactly where it hurts most; the clients repeat, the platform goes on."""

import pytest
from door import eventually
from tests.faults.patience import PATIENCE
from tests.faults.rig import Rig

from crm_platform.crash_points import CrashPoint

DIES_WITHIN = 60.0 * PATIENCE
QUICK = {CrashPoint.RELAY_AFTER_ACK, CrashPoint.PROJECTOR_AFTER_COMMIT}
PART_OF = {"command": "sales", "relay": "service", "projector": "gateway", "policy": "contacts", "keyring": "gateway"}
ROW_OF = {"command": "F02", "relay": "F03", "projector": "F04", "policy": "F04", "keyring": "F04"}
OF_JOBS = {"rebuild"}
"""Nobody starts a job again when it dies: they are rows of their own."""


def _where(point: CrashPoint) -> str:
    return point.value.partition(".")[0]


def _row(point: CrashPoint) -> object:
    where = _where(point)
    row = pytest.mark.row(ROW_OF[where], f"crash of {PART_OF[where]} at {point.value}", "I1-I6 I8 I10")
    return pytest.param(point, id=point.value, marks=[row, pytest.mark.quick] if point in QUICK else [row])


@pytest.mark.parametrize("point", [_row(point) for point in CrashPoint if _where(point) not in OF_JOBS])
async def test_a_crash_there_loses_nothing_and_repeats_nothing(rig: Rig, point: CrashPoint) -> None:
    part = PART_OF[_where(point)]
    async with rig.under_load() as trial:
        before = rig.stack.record(part).restarts
        rig.stack.crash_at(part, point, rig.random.randint(1, 3))
        await rig.restart(part)

        async def died() -> bool:
            return rig.stack.record(part).restarts >= before + 2

        await eventually(died, f"{part} dies at {point}", within=DIES_WITHIN)
        await rig.is_back(part)
        trial.repaired()
        await trial.settled(1.0)
