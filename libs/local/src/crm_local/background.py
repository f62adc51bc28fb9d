"""A supervisor as a process of its own, for `crm up --detach` and for tests."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence

from crm_local.errors import LocalStackError
from crm_local.folder import StateFolder
from crm_local.process import ProcessIdentity
from crm_local.state import Phase, StackRecord, read_record
from crm_local.supervisor import Watch

START_WITHIN = 420.0
STOP_WITHIN = 120.0
_POLL = 0.1
SUPERVISOR = "supervisor"


def start_supervisor(
    folder: StateFolder, gateway_port: int, only: Sequence[str], *, tied_to_caller: bool
) -> subprocess.Popen[bytes]:
    """Starts `crm up` in the background. With `tied_to_caller` it stops when the calling program is gone."""
    folder.create()
    command = [sys.executable, "-P", "-m", "crm_local", "up", *(f"--only={name}" for name in only)]
    if tied_to_caller:
        command.append("--until-stdin-closes")
    environment = {**os.environ, "CRM_LOCAL_DIR": str(folder.root), "CRM_GATEWAY_PORT": str(gateway_port)}
    with folder.log(SUPERVISOR).open("wb") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE if tied_to_caller else subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )


def wait_until_running(
    supervisor: subprocess.Popen[bytes], folder: StateFolder, watch: Watch, within: float = START_WITHIN
) -> StackRecord:
    """Waits until all parts are ready. Raises LocalStackError with the supervisor's own words if they are not."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        record = read_record(folder)
        if record is not None and record.supervisor.pid == supervisor.pid and record.is_supervised:
            watch(record)
            if record.phase is Phase.RUNNING:
                return record
        if supervisor.poll() is not None:
            raise LocalStackError(_last_words(folder))
        time.sleep(_POLL)
    raise LocalStackError(f"the stack was not ready within {within:.0f} s: see {folder.log(SUPERVISOR)}")


def _last_words(folder: StateFolder) -> str:
    """The refusal with which the supervisor ended, or all it wrote if it ended otherwise."""
    return folder.log(SUPERVISOR).read_text(errors="replace").rpartition("crm: ")[2].strip()


def stop_supervisor(identity: ProcessIdentity, within: float = STOP_WITHIN) -> None:
    """Asks the supervisor to stop everything and waits for it. Raises LocalStackError if it takes too long."""
    process = identity.find()
    if process is None:
        return
    process.terminate()
    deadline = time.monotonic() + within
    while identity.find() is not None:
        if time.monotonic() > deadline:
            raise LocalStackError(f"the supervisor (process {identity.pid}) did not stop within {within:.0f} s")
        time.sleep(_POLL)
