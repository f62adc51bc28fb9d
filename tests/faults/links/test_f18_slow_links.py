"""F18: each link in turn is slow, narrow, chopped into pieces, and slow to close; the others do not notice."""

import time

import pytest
from tests.faults import invariants
from tests.faults.links.linked_rig import LinkedRig, Measured
from tests.faults.links.toxiproxy import Toxic
from tests.faults.rig import HEALS_WITHIN

SLOW: dict[str, tuple[Toxic, ...]] = {
    "300 ms latency": (Toxic("latency", "downstream", {"latency": 300, "jitter": 100}),),
    "50 KB/s": (Toxic("bandwidth", "upstream", {"rate": 50}), Toxic("bandwidth", "downstream", {"rate": 50})),
    "slicer": (
        Toxic("slicer", "upstream", {"average_size": 64, "size_variation": 32, "delay": 100}),
        Toxic("slicer", "downstream", {"average_size": 64, "size_variation": 32, "delay": 100}),
    ),
    "slow close": (Toxic("slow_close", "downstream", {"delay": 2_000}),),
}
FOR_SECONDS = {"postgres": 16.0, "mongodb": 8.0, "kafka": 8.0, "sales": 8.0}
"""A transaction over a slow link to PostgreSQL takes seconds, so it needs the longest look."""
UNSPOILT_SECONDS = 4.0
MORE_SECONDS = {"postgres": 6.0, "mongodb": 1.0, "kafka": 1.0, "sales": 2.0}
"""By how much the slowest attempt in a hundred may take longer than over links that spoil nothing. A command makes some
ten round trips to PostgreSQL, and none to MongoDB or Kafka; after 5 s it is answered 503.
"""


@pytest.mark.row("F18", "300 ms latency, 50 KB/s, slicer, slow close", "I1-I7 I10")
@pytest.mark.parametrize("name", MORE_SECONDS)
async def test_a_slow_link_slows_its_own_service_only(linked: LinkedRig, name: str, measured: Measured) -> None:
    link = getattr(linked.links, name)
    async with linked.under_load() as trial:
        await trial.settled(UNSPOILT_SECONDS)
        usual = linked.door.commands_to_sales(trial.began).p99
        for kind, toxics in SLOW.items():
            since = time.monotonic()
            async with link.spoilt(*toxics):
                await trial.settled(FOR_SECONDS[name])
            answers = linked.door.commands_to_sales(since)
            measured(f"{name}, {kind}: {answers}")
            assert answers.p99 < 2 * usual + MORE_SECONDS[name], f"{kind}: {answers}, usually {usual:.2f} s"
            assert answers.taken, f"{kind}: no command got through: {answers}"
        trial.repaired()
    affected = {"sales"} if name in ("postgres", "sales") else set()
    invariants.others_noticed_nothing(trial.load, trial.began, time.monotonic(), affected)
    invariants.the_view_answered(trial.viewer, trial.began, time.monotonic())
    assert trial.healed_in < HEALS_WITHIN
    measured(f"{name}: whole again after {trial.healed_in:.1f} s")
