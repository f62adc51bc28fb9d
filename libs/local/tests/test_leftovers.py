import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from crm_local.errors import LocalStackError
from crm_local.folder import StateFolder
from crm_local.process import ProcessIdentity, stop_leftover
from crm_local.state import PartRecord, PartState, Phase, StackRecord, sole_supervisor, write_record
from crm_local.supervisor import stop_leftovers


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    program = "import signal; signal.sigwait({signal.SIGTERM})"
    with subprocess.Popen([sys.executable, "-c", program], start_new_session=True) as process:
        yield process
        process.kill()


def gone() -> ProcessIdentity:
    """A process that has ended: the number is this one's, the start time nobody's."""
    return ProcessIdentity(pid=os.getpid(), started=1.0)


def leave_behind(folder: StateFolder, process: ProcessIdentity, supervisor: ProcessIdentity) -> None:
    part = PartRecord(name="kafka", address="nowhere", log="none", state=PartState.READY, process=process)
    write_record(folder, StackRecord(supervisor=supervisor, phase=Phase.RUNNING, parts={"kafka": part}))


def test_what_a_killed_supervisor_left_is_stopped(folder: StateFolder, sleeper: subprocess.Popen[bytes]) -> None:
    leave_behind(folder, ProcessIdentity.of(sleeper.pid), supervisor=gone())
    assert stop_leftovers(folder) == ["kafka"]
    assert sleeper.wait(10) is not None
    assert stop_leftovers(folder) == []


def test_a_process_that_only_has_the_same_number_is_left_alone(
    folder: StateFolder, sleeper: subprocess.Popen[bytes]
) -> None:
    leave_behind(folder, ProcessIdentity(pid=sleeper.pid, started=1.0), supervisor=gone())
    assert stop_leftovers(folder) == []
    assert sleeper.poll() is None


def test_parts_of_a_living_supervisor_are_left_alone(folder: StateFolder, sleeper: subprocess.Popen[bytes]) -> None:
    leave_behind(folder, ProcessIdentity.of(sleeper.pid), supervisor=ProcessIdentity.of(os.getpid()))
    assert stop_leftovers(folder) == []
    assert sleeper.poll() is None


def test_a_leftover_that_is_frozen_is_killed(sleeper: subprocess.Popen[bytes]) -> None:
    identity = ProcessIdentity.of(sleeper.pid)
    sleeper.send_signal(signal.SIGSTOP)
    assert stop_leftover(identity, signal.SIGTERM, within=0.5)
    assert identity.find() is None


def test_a_second_supervisor_of_one_folder_is_refused(folder: StateFolder) -> None:
    with (
        sole_supervisor(folder),
        pytest.raises(LocalStackError, match=r"running already.*crm down"),
        sole_supervisor(folder),
    ):
        pass
    with sole_supervisor(folder):
        pass
