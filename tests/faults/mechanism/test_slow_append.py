"""F07: an append has its position and is slow to commit, while another process appends behind it."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from uuid import uuid4

import pytest
from eventsourcing.persistence import StoredEvent
from libs.platform.tests.shop_store import Shop
from libs.platform.tests.waiting import eventually

from crm_platform.event_store.recorder import Statement

OpenStore = Callable[..., Awaitable[Shop]]


@pytest.mark.row("F07", "an append has its position and does not commit; another follows", "I4, none is passed over")
async def test_no_reader_passes_over_a_position_that_commits_late(shop: Shop, open_store: OpenStore) -> None:
    other = await open_store()
    placed, committed = threading.Event(), threading.Event()

    def hold(_positions: Sequence[int]) -> Sequence[Statement]:
        placed.set()
        committed.wait()
        return ()

    slow = asyncio.create_task(asyncio.to_thread(_append, shop, hold))
    await asyncio.to_thread(placed.wait)
    quick = asyncio.create_task(other.make())
    try:
        await eventually(lambda: quick.done() or bool(shop.rows("SELECT 1 FROM pg_locks WHERE NOT granted")))
        seen = _positions_after(shop, 0)
    finally:
        committed.set()
    await asyncio.gather(slow, quick)
    seen += _positions_after(shop, max(seen, default=0))
    assert seen == [row["notification_id"] for row in shop.stored()]


def _append(shop: Shop, after: Callable[[Sequence[int]], Sequence[Statement]]) -> None:
    event = StoredEvent(originator_id=uuid4(), originator_version=1, topic="slow", state=b"{}")
    shop.events.store.append([event], after=after)


def _positions_after(shop: Shop, position: int) -> list[int]:
    """As the relay reads on."""
    return [notification.position for notification in shop.events.store.select_after(position, 100)]
