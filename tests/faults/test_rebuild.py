"""F30, F31: the customers' read model is rebuilt under load, and the rebuild dies where it can."""

import pytest
from command_line import Outcome, crm_command
from tests.faults.rig import Rig

from crm_platform.crash_points import KILLED, VARIABLE, CrashPoint

READ_MODEL = "gateway.customers"


@pytest.mark.early
@pytest.mark.timeout(600)
@pytest.mark.row("F30 F31", "a rebuild from offset 0 under load dies in three places, and goes back", "I1-I6 I8 I10")
async def test_a_rebuild_that_dies_goes_on_when_it_is_called_again_and_nobody_notices(rig: Rig) -> None:
    async with rig.under_load() as trial:
        for point in (CrashPoint.REBUILD_FILLED, CrashPoint.REBUILD_STILL, CrashPoint.REBUILD_SWITCHED):
            died = await _crm(rig, **{VARIABLE: point.value})
            assert f"ended with {KILLED}" in died.errors, died
        assert "none differs" in died.output
        await trial.settled(1)
        # The checker looks at the first generation, so that is the live one again in the end.
        for option in ("--rollback", "--drop"):
            done = await _crm(rig, option)
            assert done.code == 0, done
        trial.repaired()


async def _crm(rig: Rig, *options: str, **environment: str) -> Outcome:
    return await crm_command(rig.stack, "rebuild", READ_MODEL, *options, **environment)
