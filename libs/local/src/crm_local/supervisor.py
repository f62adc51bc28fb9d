"""The supervisor: starts the parts in order, keeps them running, and stops them in the opposite order."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterable

from crm_local.errors import LocalStackError
from crm_local.folder import StateFolder
from crm_local.keeper import Keeper, log_tail
from crm_local.part import Part
from crm_local.plan import INFRASTRUCTURE, Plan
from crm_local.process import Launch, ProcessIdentity, spawn, stop, stop_leftover
from crm_local.state import PartRecord, Phase, StackRecord, read_record, write_record

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LEFTOVER_STOPS_WITHIN = 20.0

Watch = Callable[[StackRecord], None]


class Supervisor:
    """Runs one plan until it is asked to stop. `watch` is told of every change."""

    def __init__(self, plan: Plan, watch: Watch) -> None:
        self._plan = plan
        self._watch = watch
        self._record = StackRecord(supervisor=ProcessIdentity.of(os.getpid()), phase=Phase.STARTING, parts={})
        self._stop = asyncio.Event()
        self._keepers: dict[str, Keeper] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def request_stop(self) -> None:
        self._stop.set()

    async def run(self) -> None:
        """Returns after a requested stop. Raises LocalStackError if a part does not come up; either way all is down."""
        self._listen_to_signals()
        try:
            await self._run()
        finally:
            self._ignore_signals()

    async def _run(self) -> None:
        self._forget_holds()
        self._keepers = {part.name: Keeper(part, self._plan.folder, self._changed) for part in self._plan.parts}
        for keeper in self._keepers.values():
            self._changed(keeper.record)
        stopped = asyncio.create_task(self._stop.wait())
        coming_up = asyncio.create_task(self._bring_up())
        try:
            await asyncio.wait({stopped, coming_up}, return_when=asyncio.FIRST_COMPLETED)
            if coming_up.done():
                coming_up.result()
                self._enter(Phase.RUNNING)
                await self._until_stop_or_failure(stopped)
        finally:
            self._enter(Phase.STOPPING)
            await _cancel((coming_up, stopped))
            await self._take_down(self._plan.services)
            await self._take_down(self._plan.infrastructure)

    async def _bring_up(self) -> None:
        await self._start_together(self._plan.infrastructure)
        if self._plan.topics is not None:
            await _run_to_end("topics", self._plan.topics, self._plan.folder)
        await self._start_together(self._plan.services)

    async def _start_together(self, parts: Iterable[Part]) -> None:
        names = [part.name for part in parts]
        for name in names:
            self._tasks[name] = asyncio.create_task(self._keepers[name].run())
        await asyncio.gather(*(self._until_ready(name) for name in names))

    async def _until_ready(self, name: str) -> None:
        ready, task = self._keepers[name].first_ready, self._tasks[name]
        await asyncio.wait({ready, task}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()

    async def _until_stop_or_failure(self, stopped: asyncio.Task[bool]) -> None:
        await asyncio.wait({stopped, *self._tasks.values()}, return_when=asyncio.FIRST_COMPLETED)
        for task in self._tasks.values():
            if task.done():
                task.result()

    async def _take_down(self, parts: Iterable[Part]) -> None:
        await _cancel([self._tasks[part.name] for part in parts if part.name in self._tasks])

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, self.request_stop)

    def _ignore_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)

    def _forget_holds(self) -> None:
        for marker in self._plan.folder.held.iterdir():
            marker.unlink()

    def _changed(self, part: PartRecord) -> None:
        self._record.parts[part.name] = part
        self._publish()

    def _enter(self, phase: Phase) -> None:
        self._record.phase = phase
        self._publish()

    def _publish(self) -> None:
        write_record(self._plan.folder, self._record)
        self._watch(self._record)


def stop_leftovers(folder: StateFolder) -> list[str]:
    """Stops what a supervisor that died left running, services first; the names of what was stopped."""
    record = read_record(folder)
    if record is None or record.is_supervised:
        return []
    return [
        part.name
        for part in sorted(record.parts.values(), key=lambda each: each.name in INFRASTRUCTURE)
        if part.process and stop_leftover(part.process, signal.Signals(part.stop_signal), _LEFTOVER_STOPS_WITHIN)
    ]


async def _run_to_end(name: str, launch: Launch, folder: StateFolder) -> None:
    process = await spawn(launch, folder.log(name))
    try:
        await process.wait()
    finally:
        await stop(process, launch)
    if process.returncode:
        tail = log_tail(folder.log(name))
        raise LocalStackError(f"{name} could not be declared (exit code {process.returncode}). {tail}")


async def _cancel(tasks: Iterable[asyncio.Task[object]] | Iterable[asyncio.Task[None]]) -> None:
    pending = [task for task in tasks if not task.done()]
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
