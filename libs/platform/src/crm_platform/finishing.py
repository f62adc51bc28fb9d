"""Stopping in good order: what has begun is finished, not torn."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

LAST_SECONDS = 5.0


async def to_its_end(work: Coroutine[Any, Any, T], within: float = LAST_SECONDS) -> T:
    """Await work that is not to be torn: cancelled meanwhile, it gets `within` seconds to finish before that shows."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        try:
            await asyncio.wait([task], timeout=within)
        finally:  # also when it is told a second time
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        raise
