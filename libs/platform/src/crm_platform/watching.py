"""Looking now and then at something that runs."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from crm_platform.finishing import is_told_to_end
from crm_platform.logging import get_logger

log = get_logger(__name__)


@asynccontextmanager
async def watching(part: str, look: Callable[[], Awaitable[None]], every_seconds: float) -> AsyncIterator[None]:
    """Meanwhile `look` is called every so many seconds. Whatever it raises is logged under the part's name, no more."""
    task = asyncio.create_task(_watch(part, look, every_seconds), name=f"{part} watch")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _watch(part: str, look: Callable[[], Awaitable[None]], every_seconds: float) -> None:
    while True:
        await asyncio.sleep(every_seconds)
        try:
            await look()
        except asyncio.CancelledError as failure:
            # A client that was stopped meanwhile cancels what it waits for itself.
            if is_told_to_end():
                raise
            log.warning("not_watched", part=part, exc_info=failure)
        except Exception as failure:
            log.warning("not_watched", part=part, exc_info=failure)
