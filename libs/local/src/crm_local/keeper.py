"""Keeps one part running: starts it, waits until it is ready, and starts it again when it dies."""

import asyncio
import time
from asyncio.subprocess import Process
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from crm_local.backoff import Backoff
from crm_local.crash import with_ordered_crash
from crm_local.errors import LocalStackError
from crm_local.folder import StateFolder
from crm_local.part import Part, until_ready
from crm_local.process import Launch, ProcessIdentity, spawn, stop
from crm_local.state import PartRecord, PartState

_HOLD_POLL = 0.1
_STUCK_LOOKS = 3
"""So many looks in a row: a busy machine answers late now and then."""
_STARTS_BEFORE_GIVING_UP = 3
_LOG_TAIL = 15


class _DiedError(Exception):
    """The process ended, or had to be ended, without having been asked to."""


class Keeper:
    """The life of one part. `run` ends when it is cancelled or gives up the first start; it leaves no process."""

    def __init__(self, part: Part, folder: StateFolder, changed: Callable[[PartRecord], None]) -> None:
        self.part = part
        self.record = PartRecord(name=part.name, address=part.address, log=str(folder.log(part.name)))
        self.first_ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._folder = folder
        self._log = folder.log(part.name)
        self._hold = folder.held / part.name
        self._changed = changed
        self._backoff = Backoff()
        self._deaths_at_start = 0

    async def run(self) -> None:
        """Raises LocalStackError when the part does not come up at its first start; later it is tried for ever."""
        try:
            while True:
                await self._until_released()
                started = time.monotonic()
                try:
                    await self._run_once()
                except (_DiedError, LocalStackError) as failure:
                    await self._recover(failure, time.monotonic() - started)
        finally:
            self._enter(PartState.STOPPED, process=None, ready_at=None)

    async def _run_once(self) -> None:
        """One process from its start to its end. Returns when it was held; raises _DiedError when it died."""
        self._enter(PartState.PREPARING)
        await self.part.prepare(self._say)
        launch = with_ordered_crash(self.part.launch(), self._folder, self.part.name)
        try:
            process = await spawn(launch, self._log)
        except OSError as error:
            raise LocalStackError(f"{self.part.name} cannot be started: {error}") from error
        try:
            self._enter(
                PartState.STARTING,
                process=ProcessIdentity.of(process.pid),
                stop_signal=launch.stop_signal.value,
            )
            if not await self._becomes_ready(process):
                return
            self._enter(PartState.READY, ready_at=time.time())
            if not self.first_ready.done():
                self.first_ready.set_result(None)
            await self._until_held_or_dead(process)
        finally:
            await _stop_even_if_cancelled(process, launch)

    async def _becomes_ready(self, process: Process) -> bool:
        """False where it is held before it is ready, as one that will never be must be held, too."""
        ready = asyncio.create_task(until_ready(self.part, self._note))
        ended = asyncio.create_task(process.wait())
        held = asyncio.create_task(self._until_held())
        try:
            await asyncio.wait(
                {ready, ended, held}, timeout=self.part.ready_within, return_when=asyncio.FIRST_COMPLETED
            )
            if held.done():
                return False
            if ended.done():
                raise _DiedError(f"ended with exit code {process.returncode} before it was ready")
            if not ready.done():
                raise _DiedError(f"was not ready within {self.part.ready_within:.0f} s: {self.record.note}")
            ready.result()
            return True
        finally:
            for task in (ready, ended, held):
                task.cancel()

    async def _until_held_or_dead(self, process: Process) -> None:
        ended = asyncio.create_task(process.wait())
        held = asyncio.create_task(self._until_held())
        stuck = asyncio.create_task(self._until_stuck())
        try:
            await asyncio.wait({ended, held, stuck}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                raise _DiedError(f"ended with exit code {process.returncode}")
            if stuck.done():
                raise _DiedError("showed no life any more, so it was stopped")
        finally:
            for task in (ended, held, stuck):
                task.cancel()

    async def _until_stuck(self) -> None:
        """Returns once the part is stuck, as Kubernetes would find it."""
        looks = 0
        while looks < _STUCK_LOOKS:
            await asyncio.sleep(self.part.alive_every)
            looks = looks + 1 if await self.part.is_stuck() else 0

    async def _until_held(self) -> None:
        await _until(self._hold.exists)

    async def _until_released(self) -> None:
        if self._hold.exists():
            self._enter(PartState.HELD, process=None, ready_at=None)
            await _until(lambda: not self._hold.exists())

    async def _recover(self, failure: Exception, ran_for: float) -> None:
        """Waits before the next try. Raises LocalStackError if a part that never was ready will not be."""
        if not self.first_ready.done():
            if isinstance(failure, LocalStackError):
                raise failure
            self._deaths_at_start += 1
            if self._deaths_at_start >= _STARTS_BEFORE_GIVING_UP or ran_for >= self.part.ready_within:
                raise LocalStackError(f"{self.part.name} {failure}. {log_tail(self._log)}") from failure
        self.record.restarts += 1
        self._enter(PartState.RESTARTING, note=str(failure), process=None, ready_at=None)
        await asyncio.sleep(self._backoff.next_wait(ran_for))

    def _note(self, note: str) -> None:
        self.record.note = note

    def _say(self, note: str) -> None:
        self.record.note = note
        self._changed(self.record)

    def _enter(self, state: PartState, **changes: object) -> None:
        self.record = self.record.model_copy(update={"state": state, "note": "", **changes})
        self._changed(self.record)


async def _until(condition: Callable[[], bool]) -> None:
    while True:
        if condition():
            return
        await asyncio.sleep(_HOLD_POLL)


async def _stop_even_if_cancelled(process: Process, launch: Launch) -> None:
    stopping = asyncio.ensure_future(stop(process, launch))
    while not stopping.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(stopping)


def log_tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-_LOG_TAIL:]
    return f"The end of {log}:\n" + "\n".join(lines) if lines else f"It wrote nothing to {log}"
