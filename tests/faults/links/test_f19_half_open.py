"""F19: a link carries nothing any more and closes nothing; who hangs on it notices, and heals when it carries again."""

import time

import pytest
from door import eventually
from tests.faults import invariants
from tests.faults.links.linked_rig import LinkedRig, Measured
from tests.faults.links.toxiproxy import Toxic
from tests.faults.rig import HEALS_WITHIN

HALF_OPEN = (Toxic("timeout", "upstream", {"timeout": 0}), Toxic("timeout", "downstream", {"timeout": 0}))
NOTICED_WITHIN = 30.0
STAYS_SECONDS = 15.0
"""The link stays half open for at least so long: long enough that every pooled connection has been tried."""
TOLD: dict[str, tuple[str, tuple[str, ...]]] = {
    "postgres": ("sales", ("relay_interrupted",)),
    "mongodb": ("sales", ("consumer_interrupted",)),
    "kafka": ("sales", ("RequestTimedOutError",)),
    "sales": ("gateway", ("a service does not answer",)),
}
"""Who tells of each link in its log, and how. Kafka's clients say it themselves, and try again below their users."""
ANSWERED_WITHIN = 12.0


@pytest.mark.row("F19", "half open: drops everything, closes nothing", "I1-I7 I10")
@pytest.mark.parametrize("name", TOLD)
async def test_a_half_open_link_is_noticed_and_heals(linked: LinkedRig, name: str, measured: Measured) -> None:
    link, (part, events) = getattr(linked.links, name), TOLD[name]
    told = linked.logged(part, *events)
    async with linked.under_load() as trial:
        await trial.settled(2.0)
        since = time.monotonic()
        async with link.spoilt(*HALF_OPEN):

            async def noticed() -> bool:
                return linked.logged(part, *events) > told

            await eventually(noticed, f"{part} notices", within=NOTICED_WITHIN, every=0.2)
            took = time.monotonic() - since

            async def has_stayed() -> bool:
                return time.monotonic() > since + STAYS_SECONDS

            await eventually(has_stayed, "the link stays half open", within=NOTICED_WITHIN)
        answers = linked.door.commands_to_sales(since)
        trial.repaired()
    affected = {"sales"} if name in ("postgres", "sales") else set()
    invariants.others_noticed_nothing(trial.load, trial.began, time.monotonic(), affected)
    invariants.the_view_answered(trial.viewer, trial.began, time.monotonic())
    assert max(answers.p99, 0.0) < ANSWERED_WITHIN, f"nobody waits for a link that is half open: {answers}"
    assert trial.healed_in < HEALS_WITHIN
    measured(f"{name}: noticed after {took:.1f} s, whole again after {trial.healed_in:.1f} s; {answers}")
