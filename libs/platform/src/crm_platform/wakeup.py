"""A condition that many wait for: something was applied."""

import asyncio
from contextlib import suppress


class Wakeup:
    """Wakes everybody who is waiting at the moment at which it is set."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def wait(self, seconds: float) -> None:
        """Until it is set, at most that long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()
