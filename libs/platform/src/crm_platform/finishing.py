"""Stopping in good order: what has begun is finished, not torn."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

LAST_SECONDS = 5.0


def is_told_to_end() -> bool:
    """Whether somebody has cancelled the running task.

    A CancelledError that comes without that is a library's own: it waited for something that it had cancelled itself.
    Whoever lets it pass ends silently, for a group of tasks takes it for an end that somebody wanted.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


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
