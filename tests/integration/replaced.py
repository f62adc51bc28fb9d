"""A process of the test's own in the place of a part of the stack: with other settings, and in the test's hands."""

import asyncio
import signal
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Self

from crm_local.part import Part, until_ready
from crm_local.process import Launch, spawn, stop
from crm_local.stack import Stack

READY_WITHIN = 120.0


@dataclass(frozen=True, slots=True)
class Ending:
    """How a process ended that was told to stop."""

    exit_code: int
    seconds: float


class Replacement:
    """The part, started and stopped by the test."""

    def __init__(self, stack: Stack, part: Part, launch: Launch) -> None:
        self._stack = stack
        self._part = part
        self._launch = launch
        self._process: Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def spawn(self) -> None:
        """Start it; it may not be ready yet."""
        self._process = await spawn(self._launch, self._stack.folder.log(self._part.name))

    async def start(self) -> Self:
        """Start it and wait until it is ready."""
        await self.spawn()
        async with asyncio.timeout(READY_WITHIN):
            await until_ready(self._part, lambda _: None)
        return self

    async def terminate(self, within: float) -> Ending:
        """Tell it to stop, and wait for its end. Raises TimeoutError."""
        assert self._process is not None
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(within):
            code = await self._process.wait()
        return Ending(code, time.monotonic() - began)

    async def end(self) -> None:
        """Leave nothing of it behind."""
        if self._process is not None:
            await stop(self._process, self._launch)


@asynccontextmanager
async def replaced(stack: Stack, part: str, settings: Mapping[str, str] | None = None) -> AsyncIterator[Replacement]:
    """The part is held while the replacement, not started yet, takes its place; then it is started again."""
    described = stack.addresses.part(part)
    launch = described.launch()
    launch = replace(launch, environment={**launch.environment, **(settings or {})})
    await asyncio.to_thread(stack.hold, part)
    replacement = Replacement(stack, described, launch)
    try:
        yield replacement
    finally:
        await replacement.end()
        await asyncio.to_thread(stack.release, part)
