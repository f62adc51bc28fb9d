"""F34: a dependency is down and 200 clients try again and again; once it is back, all are served within seconds."""

import asyncio
import time

import pytest
from tests.faults import invariants
from tests.faults.links.linked_rig import LEADS, LinkedRig, Measured, all_of
from tests.faults.rig import HEALS_WITHIN

CLIENTS = 200
DOWN_SECONDS = 12.0
BACK_WITHIN = 10.0


@pytest.mark.row("F34", "a dependency down, 200 clients retry at the gateway", "I1-I7 I10")
@pytest.mark.parametrize("name", ["sales", "postgres"])
async def test_retries_do_not_keep_a_dependency_down(linked: LinkedRig, name: str, measured: Measured) -> None:
    served: dict[int, float] = {}
    began = time.monotonic()

    async def client(number: int) -> None:
        """Sends its lead until it is answered, and waits in between for as long as it is told."""
        lead = {"party": {"email": f"storm-{number}@example.org"}, "source": f"storm of {name}"}
        key = {"Idempotency-Key": f"storm-{name}-{linked.seed}-{number}"}
        while True:
            reply = await linked.door.post(LEADS, lead, role="sales", headers=key)
            if reply.status == 201:
                served[number] = time.monotonic()
                return
            assert reply.is_problem(503) or reply.is_problem(429), f"{reply.status} {reply.body}"
            await asyncio.sleep(float(reply.headers["Retry-After"]))

    async with linked.under_load(writers=2, exact=name != "postgres") as trial:
        async with getattr(linked.links, name).cut():
            storm = asyncio.create_task(all_of(CLIENTS, client))
            await asyncio.wait([storm], timeout=DOWN_SECONDS)
            assert not served
        back = time.monotonic()
        trial.repaired()
        async with asyncio.timeout(HEALS_WITHIN):
            await storm
    invariants.others_noticed_nothing(trial.load, trial.began, time.monotonic(), {"sales"})
    invariants.the_view_answered(trial.viewer, trial.began, time.monotonic())
    took = sorted(at - back for at in served.values())
    answers = linked.door.commands_to_sales(began)
    measured(f"{name}: first served {took[0]:.1f} s after it was back, last {took[-1]:.1f} s; {answers}")
    assert took[-1] < BACK_WITHIN, f"the last of {CLIENTS} clients was served {took[-1]:.1f} s after {name} was back"
