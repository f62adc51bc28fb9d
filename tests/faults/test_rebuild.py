"""F30, F31: the customers' read model is rebuilt under load, and the rebuild dies where it can."""

import pytest
from command_line import Outcome, crm_command
from tests.faults.rig import Rig

from crm_platform.crash_points import KILLED, VARIABLE, CrashPoint

READ_MODEL = "gateway.customers"


@pytest.mark.timeout(600)
@pytest.mark.row("F30", "a rebuild from offset 0 under load, and back again", "I1-I6 I8 I10, digests equal")
async def test_a_rebuild_under_load_is_noticed_by_nobody(rig: Rig) -> None:
    async with rig.under_load() as trial:
        rebuilt = await _crm(rig)
        assert rebuilt.code == 0, rebuilt
        assert "none differs" in rebuilt.output
        await trial.settled(1)
        await _goes_back(rig)
        trial.repaired()


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "point",
    [
        pytest.param(point, marks=pytest.mark.row(f"F31 {point.value}", "the rebuild dies there", "I1-I6 I8 I10"))
        for point in (CrashPoint.REBUILD_FILLED, CrashPoint.REBUILD_STILL, CrashPoint.REBUILD_SWITCHED)
    ],
)
async def test_a_rebuild_that_dies_goes_on_when_it_is_called_again(rig: Rig, point: CrashPoint) -> None:
    async with rig.under_load() as trial:
        died = await _crm(rig, **{VARIABLE: point.value})
        assert died.code == 1, died
        assert f"ended with {KILLED}" in died.errors
        trial.repaired()
        await trial.settled(1)
        if point is not CrashPoint.REBUILD_SWITCHED:
            rebuilt = await _crm(rig)
            assert rebuilt.code == 0, rebuilt
        await _goes_back(rig)
        trial.repaired()


async def _crm(rig: Rig, *options: str, **environment: str) -> Outcome:
    return await crm_command(rig.stack, "rebuild", READ_MODEL, *options, **environment)


async def _goes_back(rig: Rig) -> None:
    """The checker looks at the first generation, so that is the live one again."""
    for option in ("--rollback", "--drop"):
        done = await _crm(rig, option)
        assert done.code == 0, done
