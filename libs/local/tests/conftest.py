"""A part small enough to start in a test: a real child process that says when it is ready."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from crm_local.errors import NotReadyError
from crm_local.folder import StateFolder
from crm_local.part import Part
from crm_local.plan import Plan
from crm_local.process import Launch

_LIVES = """
import pathlib, signal, sys
print("hello from the part", flush=True)
pathlib.Path(sys.argv[1]).touch()
signal.sigwait({signal.SIGTERM})
"""
_DIES = "import sys; print('no such setting', flush=True); sys.exit(3)"
_IGNORES_THE_REQUEST_TO_STOP = """
import pathlib, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1]).touch()
signal.pause()
"""


_SAYS_WHERE_IT_CRASHES = """
import os, pathlib, signal, sys
print(os.environ.get("CRM_CRASH_AT", "nowhere"), flush=True)
pathlib.Path(sys.argv[1]).touch()
signal.sigwait({signal.SIGTERM})
"""


class Program(Part):
    """A Python program that is ready once it has made its file."""

    address = "nowhere"

    def __init__(self, name: str, source: str, folder: StateFolder) -> None:
        self.name = name
        self._source = source
        self._folder = folder
        self.sign = folder.run / f"{name}.ready"

    def launch(self) -> Launch:
        self.sign.unlink(missing_ok=True)
        return Launch(
            argv=(sys.executable, "-c", self._source, str(self.sign)),
            working_folder=self._folder.data(self.name),
            stop_within=1.0,
        )

    async def check_ready(self) -> None:
        if not self.sign.exists():
            raise NotReadyError("its file is missing")


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    state = StateFolder(tmp_path / "local")
    state.create()
    return state


@pytest.fixture
def living(folder: StateFolder) -> Callable[[str], Part]:
    return lambda name: Program(name, _LIVES, folder)


@pytest.fixture
def dying(folder: StateFolder) -> Part:
    return Program("dying", _DIES, folder)


@pytest.fixture
def telling(folder: StateFolder) -> Part:
    """Prints the crash point that it was told, if any, at each start."""
    return Program("telling", _SAYS_WHERE_IT_CRASHES, folder)


@pytest.fixture
def stubborn(folder: StateFolder) -> Part:
    return Program("stubborn", _IGNORES_THE_REQUEST_TO_STOP, folder)


@pytest.fixture
def plan_of(folder: StateFolder) -> Callable[..., Plan]:
    def make(*infrastructure: Part, services: tuple[Part, ...] = ()) -> Plan:
        return Plan(folder=folder, infrastructure=infrastructure, topics=None, services=services)

    return make
