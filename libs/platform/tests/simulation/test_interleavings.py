"""Thousands of interleavings of relay, projector, policy, crash, rebalance, loss and repair, in memory, seeded.

A failure names its seed; `CRM_SIMULATION_SEED` runs that one alone, `CRM_SIMULATION_RUNS` more of them.
"""

import os
import random
from collections import Counter
from collections.abc import Sequence
from uuid import UUID

import orjson
import pytest
from libs.platform.tests.purchases import PurchaseRow, TotalRow
from libs.platform.tests.shop import EVENTS, PurchaseNoted
from libs.platform.tests.simulation.world import SHOP, World

from crm_events.envelope import Recorded, from_document
from crm_events.event import Event
from crm_platform.partitioning import partition_of

RUNS = int(os.environ.get("CRM_SIMULATION_RUNS", "2000"))
STEPS = 120
CHUNKS = 12


def _seeds() -> list[int]:
    told = os.environ.get("CRM_SIMULATION_SEED")
    return [int(told)] if told else list(range(RUNS))


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_whatever_happens_in_between_nothing_is_lost_and_nothing_happens_twice(chunk: int) -> None:
    seeds = _seeds()[chunk::CHUNKS]
    for seed in seeds:
        world = World(seed)
        try:
            world.run(random.Random(seed).randint(10, STEPS))  # noqa: S311 - repeatable
            _check(world)
        except AssertionError as broken:
            raise AssertionError(f"seed {seed}: {broken}") from broken


def _check(world: World) -> None:
    published = [from_document(orjson.loads(row.state), EVENTS) for row in world.table.rows]
    noted = [event for event in published if isinstance(event.data, PurchaseNoted)]
    _each_stream_is_complete_and_in_order(world, noted)
    _totals_count_each_event_once(world, noted)
    reacted = Counter(world.reactions.effects)
    assert reacted == Counter(event.id for event in noted), "each event is reacted to once"
    assert {parked.inbound.key for parked in world.reactions.parked} <= {"stranger"}
    for documents in (world.model, world.reactions):
        assert all(cursor.gap is None for cursor in documents.cursors.values()), "every gap is closed"


def _each_stream_is_complete_and_in_order(world: World, noted: Sequence[Recorded[Event]]) -> None:
    expected: dict[UUID, list[str]] = {}
    for event in noted:
        assert isinstance(event.data, PurchaseNoted)
        expected.setdefault(event.subject, []).append(event.data.text)
    rows = [(UUID(target.id), row) for target, row in world.model.rows.items() if target.document is PurchaseRow]
    assert {stream: list(row["notes"]) for stream, row in rows} == expected


def _totals_count_each_event_once(world: World, noted: Sequence[Recorded[Event]]) -> None:
    expected = Counter(f"{SHOP.name}/{partition_of(event.subject, SHOP.partitions)}" for event in noted)
    kept = {target.id: row["count"] for target, row in world.model.rows.items() if target.document is TotalRow}
    assert kept == expected
