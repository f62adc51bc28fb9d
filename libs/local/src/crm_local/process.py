"""Child processes: how one is started, known again, and stopped for good."""

import asyncio
import os
import shutil
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from pydantic import BaseModel

_LOG_LIMIT = 20 * 1024 * 1024


@dataclass(frozen=True)
class Launch:
    """How a process is started and asked to stop."""

    argv: tuple[str, ...]
    working_folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    not_inherited: frozenset[str] = frozenset()
    """Variables of the shell that must not reach the process."""
    stop_signal: signal.Signals = signal.SIGTERM
    stop_within: float = 20.0
    """Seconds it may take to stop in good order before it is killed."""
    drop_rights: tuple[str, ...] = ()
    """Options of setpriv with which the process gives up rights before it starts."""


class ProcessIdentity(BaseModel, frozen=True):
    """A process that cannot be mistaken for a later one with the same number: its start time is part of it."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> "ProcessIdentity":
        """The identity of a running process. Raises psutil.NoSuchProcess if there is none."""
        return cls(pid=pid, started=psutil.Process(pid).create_time())

    def find(self) -> psutil.Process | None:
        """The process, if it still runs."""
        try:
            process = psutil.Process(self.pid)
            is_same = process.create_time() == self.started and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return process if is_same else None


async def spawn(launch: Launch, log: Path) -> Process:
    """Starts the process in a session of its own, its output appended to `log`."""
    launch.working_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _rotate(log)
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *tied_to_this_process(launch),
            stdin=DEVNULL,
            stdout=output,
            stderr=output,
            cwd=launch.working_folder,
            env=environment_of(launch),
            start_new_session=True,
        )


def environment_of(launch: Launch) -> dict[str, str]:
    """What the process inherits, and what it is given."""
    inherited = {name: value for name, value in os.environ.items() if name not in launch.not_inherited}
    return {**inherited, **launch.environment}


async def stop(process: Process, launch: Launch) -> None:
    """Asks the process to stop, kills it when it takes too long, and leaves none of its group behind."""
    if process.returncode is None:
        process.send_signal(launch.stop_signal)
        try:
            await asyncio.wait_for(process.wait(), launch.stop_within)
        except TimeoutError:
            process.kill()
            await process.wait()
    kill_group(process.pid)


def kill_group(pid: int) -> None:
    """Kills what is left of the group that a process led."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def stop_leftover(identity: ProcessIdentity, stop_signal: signal.Signals, within: float) -> bool:
    """Stops a process that an earlier supervisor left running; whether there was one."""
    process = identity.find()
    if process is None:
        return False
    process.send_signal(stop_signal)
    try:
        process.wait(within)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait(within)
    kill_group(identity.pid)
    return True


def tied_to_this_process(launch: Launch) -> list[str]:
    """The command line of a process that ends with this one."""
    # The kernel stops the child when this process dies, however it dies. Other systems have no such
    # tie: there the next start finds and stops what was left.
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    if setpriv is None:
        return list(launch.argv)
    death_signal = launch.stop_signal.name.removeprefix("SIG")
    return [setpriv, "--pdeathsig", death_signal, *launch.drop_rights, "--", *launch.argv]


def _rotate(log: Path) -> None:
    if log.exists() and log.stat().st_size > _LOG_LIMIT:
        log.replace(log.with_suffix(".log.1"))
