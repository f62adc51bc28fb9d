"""What runs: the supervisor's own record, which `crm status` and the next start read."""

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ValidationError

from crm_local.errors import LocalStackError
from crm_local.folder import StateFolder
from crm_local.process import ProcessIdentity


class PartState(StrEnum):
    """Where a part is in its life."""

    WAITING = "waiting"
    PREPARING = "preparing"
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    HELD = "held"
    STOPPED = "stopped"


class Phase(StrEnum):
    """Where the whole stack is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


class PartRecord(BaseModel):
    """One part, as the supervisor last saw it. Times are seconds since the epoch."""

    name: str
    address: str
    log: str
    stop_signal: int = 15
    state: PartState = PartState.WAITING
    note: str = ""
    process: ProcessIdentity | None = None
    ready_at: float | None = None
    restarts: int = 0


class StackRecord(BaseModel):
    """The whole stack, as its supervisor last saw it."""

    supervisor: ProcessIdentity
    phase: Phase
    parts: dict[str, PartRecord]

    @property
    def is_supervised(self) -> bool:
        return self.supervisor.find() is not None


def write_record(folder: StateFolder, record: StackRecord) -> None:
    """Replaces the record in one step, so that a reader never sees half of it."""
    with tempfile.NamedTemporaryFile("w", dir=folder.run, prefix="state-", delete=False) as file:
        file.write(record.model_dump_json(indent=2))
    Path(file.name).replace(folder.state)


def read_record(folder: StateFolder) -> StackRecord | None:
    """The record of the last supervisor, None if there has been none. Raises LocalStackError if it is unreadable."""
    try:
        return StackRecord.model_validate_json(folder.state.read_text())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise LocalStackError(f"{folder.state} cannot be read: stop what runs of the stack and remove it") from error


@contextmanager
def sole_supervisor(folder: StateFolder) -> Iterator[None]:
    """Holds the stack's lock, which ends with the process that holds it, however it ends.

    Raises LocalStackError if another supervisor holds it.
    """
    with folder.lock.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            record = read_record(folder)
            who = f" (process {record.supervisor.pid})" if record else ""
            raise LocalStackError(
                f"the stack in {folder.root} is running already{who}: see 'crm status', stop it with 'crm down'",
            ) from None
        yield
