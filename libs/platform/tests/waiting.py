"""Waiting for a condition, bounded."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from inspect import isawaitable


async def eventually(condition: Callable[[], bool | Awaitable[bool]], within: float = 20.0) -> None:
    """Until the condition holds; raises TimeoutError."""
    async with asyncio.timeout(within):
        while True:
            holds = condition()
            if await holds if isawaitable(holds) else holds:
                return
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running(*runners: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """These run meanwhile; what one of them raises is raised here."""
    tasks = [asyncio.ensure_future(run()) for run in runners]
    try:
        yield
    finally:
        failed = [task for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in failed:
            await task
