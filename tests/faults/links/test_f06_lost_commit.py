"""F06: answers of PostgreSQL are lost at every byte, the one to COMMIT among them, and connections with them."""

import asyncio
import time

import pytest
from tests.faults.links.linked_rig import LEADS, LinkedRig, Measured
from tests.faults.links.toxiproxy import Toxic
from tests.faults.rig import HEALS_WITHIN

FIRST_BYTES, LAST_BYTES, STEP = 4, 900, 16
"""The answer to COMMIT is 18 bytes long, so a step of 16 meets it, wherever in a command's answers it stands."""
SPOILT_SECONDS = 0.3
RESETS = 15


@pytest.mark.timeout(600)
@pytest.mark.row("F06", "PostgreSQL's answers lost after 4 to 900 bytes; connections reset under load", "I1-I6 I10")
async def test_a_lost_answer_is_no_conflict_and_no_repeat(linked: LinkedRig, measured: Measured) -> None:
    began = time.monotonic()
    async with linked.under_load(pause=0.5, exact=False) as trial:
        for count in range(FIRST_BYTES, LAST_BYTES, STEP):
            await _one_command(linked, f"{count} bytes", Toxic("limit_data", "downstream", {"bytes": count}))
        for number in range(RESETS):
            await _one_command(linked, f"reset {number}", Toxic("reset_peer", "downstream", {"timeout": 0}))
        trial.repaired()
    answers = linked.door.commands_to_sales(began)
    assert set(answers.statuses) <= {200, 201, 404, 422, 503}, f"never a false conflict, never a 500: {answers}"
    assert linked.logged("sales", "commit_failed") > RESETS, "answers were lost"
    assert trial.healed_in < HEALS_WITHIN
    measured(f"{answers}; {linked.logged('sales', 'commit_failed')} attempts to store failed")


async def _one_command(linked: LinkedRig, what: str, toxic: Toxic) -> None:
    """One lead while answers are lost for a moment; sent again with its key, it is there once."""
    lead = {"party": {"email": "lost.commit@example.org"}, "source": what}
    key = {"Idempotency-Key": f"lost-{what}-{linked.seed}".replace(" ", "-")}
    async with linked.links.postgres.spoilt(toxic):
        sent = asyncio.create_task(linked.door.post(LEADS, lead, role="sales", headers=key))
        await asyncio.wait([sent], timeout=SPOILT_SECONDS)
    first = again = await sent
    assert first.status == 201 or first.is_problem(503), f"{what}: {first.status} {first.body}"
    while again.is_problem(503) or again is first:
        await asyncio.sleep(float(again.headers.get("Retry-After", "0")))
        again = await linked.door.post(LEADS, lead, role="sales", headers=key)
    assert again.status == 201, f"{what}: {again.status} {again.body}"
    assert first.status != 201 or first.id == again.id
