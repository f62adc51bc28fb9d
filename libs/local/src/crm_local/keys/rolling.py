"""Restarting the services of the running stack, one after the other."""

import time
from collections.abc import Callable
from pathlib import Path

from crm_local.errors import LocalStackError
from crm_local.folder import StateFolder
from crm_local.plan import SERVICE_PARTS
from crm_local.state import PartRecord, PartState, read_record

STOP_WITHIN = 60.0
READY_WITHIN = 180.0
_POLL = 0.1
_CLOCK_SECONDS = 1.0
"""A process's start is known to a hundredth of a second or so, a file's change to less."""


def restart_those_before(folder: StateFolder, file: Path, told: Callable[[str], None]) -> None:
    """Restart each service whose process was started before the file was last written, and wait until it is ready.

    Called again, it goes on with the others. Raises LocalStackError.
    """
    for name in SERVICE_PARTS:
        part = _parts(folder).get(name)
        if part is None:
            continue
        if part.process is None or part.process.started < file.stat().st_mtime + _CLOCK_SECONDS:
            told(name)
            _restart(folder, name)


def _restart(folder: StateFolder, name: str) -> None:
    hold = folder.held / name
    hold.touch()
    try:
        _wait(lambda: _parts(folder)[name].state is PartState.HELD, f"{name} did not stop", STOP_WITHIN)
    finally:
        hold.unlink(missing_ok=True)
    _wait(lambda: _is_ready(_parts(folder)[name]), f"{name} was not ready", READY_WITHIN)


def _is_ready(part: PartRecord) -> bool:
    return part.state is PartState.READY and part.process is not None and part.process.find() is not None


def _parts(folder: StateFolder) -> dict[str, PartRecord]:
    record = read_record(folder)
    if record is None or not record.is_supervised:
        raise LocalStackError("the stack does not run any more: start it with 'crm up', then call this again to go on")
    return record.parts


def _wait(condition: Callable[[], bool], otherwise: str, within: float) -> None:
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise LocalStackError(f"{otherwise} within {within:.0f} s: see 'crm status', then call this again to go on")
        time.sleep(_POLL)
