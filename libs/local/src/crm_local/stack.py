"""A stack of one's own, for tests and scripts: started, broken on purpose, and stopped from Python."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from crm_local.adjusted import adjust
from crm_local.background import START_WITHIN, start_supervisor, stop_supervisor, wait_until_running
from crm_local.crash import order_crash
from crm_local.errors import LocalStackError
from crm_local.folder import StateFolder
from crm_local.plan import Addresses, selected_parts
from crm_local.process import ProcessIdentity
from crm_local.state import PartRecord, PartState, StackRecord, read_record
from crm_local.supervisor import stop_leftovers
from crm_local.tokens import DEFAULT_TTL, issue_token

_POLL = 0.05


class Stack:
    """One local stack in a folder. Starting the folder again finds its data and, where free, its ports.

    `only` names the parts, for instance `["infrastructure"]`, `["kafka"]` or `["sales"]` (a service brings the
    infrastructure with it); all parts if empty. The supervisor is a process of its own that ends with this one.
    All methods block; each waits at most `within` seconds and then raises LocalStackError.
    """

    def __init__(self, folder: Path, *, gateway_port: int = 0, only: Sequence[str] = ()) -> None:
        self.folder = StateFolder(folder.resolve())
        self.parts = selected_parts(only)
        self._gateway_port = gateway_port
        self._only = tuple(only)
        self._supervisor: subprocess.Popen[bytes] | None = None

    @classmethod
    @contextmanager
    def temporary(
        cls, only: Sequence[str] = (), adjusted: Mapping[str, Mapping[str, str]] | None = None
    ) -> Iterator[Self]:
        """A running stack in a new folder, which is removed in the end.

        `adjusted` names servers whose settings are to be others than in every local stack.
        """
        root = Path(tempfile.mkdtemp(prefix="crm-stack-"))
        try:
            for part, settings in (adjusted or {}).items():
                adjust(StateFolder(root), part, settings)
            with cls(root, only=only) as stack:
                yield stack
        finally:
            shutil.rmtree(root)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, within: float = START_WITHIN) -> None:
        """Starts all parts and waits until they are ready. Raises LocalStackError, and leaves none, if one is not."""
        self._supervisor = start_supervisor(self.folder, self._gateway_port, self._only, tied_to_caller=True)
        try:
            wait_until_running(self._supervisor, self.folder, _unwatched, within)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stops all parts in good order, also those whose supervisor was killed. Does nothing if none runs."""
        if self._supervisor is not None:
            if self._supervisor.poll() is None:
                stop_supervisor(ProcessIdentity.of(self._supervisor.pid))
            self._supervisor.wait()
            if self._supervisor.stdin is not None:
                self._supervisor.stdin.close()
            self._supervisor = None
        stop_leftovers(self.folder)

    @property
    def addresses(self) -> Addresses:
        """Where the parts are reached: Kafka's bootstrap server, the databases' URIs, the services' base URLs."""
        return Addresses.of(self.folder)

    def token(self, *roles: str, subject: str | None = None, ttl: int = DEFAULT_TTL) -> str:
        """An access token that this stack's services accept, valid for `ttl` seconds."""
        return issue_token(self.folder, roles, subject, ttl)

    def record(self, part: str) -> PartRecord:
        """What the supervisor knows of a part. Raises LocalStackError for an unknown one."""
        record = self._stack_record().parts.get(part)
        if record is None:
            raise LocalStackError(f"no part is called {part!r} here: there are {', '.join(self.parts)}")
        return record

    def pid(self, part: str) -> int:
        """The process of a running part. Raises LocalStackError if it does not run."""
        process = self.record(part).process
        if process is None or process.find() is None:
            raise LocalStackError(f"{part} does not run")
        return process.pid

    def log(self, part: str) -> str:
        """Everything the part has logged since its log was last rotated."""
        return Path(self.record(part).log).read_text(errors="replace")

    def kill(self, part: str) -> None:
        """Kills a part's process, as a crash would. The supervisor starts it again; see `wait_until_ready`."""
        self._end(part, signal.SIGKILL)

    def terminate(self, part: str) -> None:
        """Asks a part's process to stop, as a deployment would, and waits for its end. It is started again."""
        record = self.record(part)
        self._end(part, signal.Signals(record.stop_signal))

    def restart(self, part: str, within: float = 180.0) -> None:
        """Stops a part in good order and waits until it is ready again."""
        self.terminate(part)
        self.wait_until_ready(part, within)

    def crash_at(self, part: str, point: str, nth: int = 1) -> None:
        """Has the part's next process end, as kill -9 would end it, when it comes to a crash point for the nth time.

        It holds for one start: `restart` begins it, and the process after the dead one lives.
        """
        self.record(part)
        order_crash(self.folder, part, point, nth)

    def hold(self, part: str, within: float = 60.0) -> None:
        """Stops a part in good order and keeps it down until `release`."""
        self.record(part)
        (self.folder.held / part).touch()
        self._wait(lambda: self.record(part).state is PartState.HELD, f"{part} did not stop", within)

    def release(self, part: str, within: float = 180.0) -> None:
        """Starts a held part again and waits until it is ready."""
        self.let_start(part)
        self.wait_until_ready(part, within)

    def let_start(self, part: str) -> None:
        """Starts a held part again, and does not wait."""
        (self.folder.held / part).unlink(missing_ok=True)

    def pause(self, part: str) -> None:
        """Freezes a part's process: it neither answers nor dies, as on a machine that stalls."""
        os.kill(self.pid(part), signal.SIGSTOP)

    def resume(self, part: str) -> None:
        """Lets a frozen process go on."""
        os.kill(self.pid(part), signal.SIGCONT)

    def kill_supervisor(self) -> None:
        """Kills the supervisor, as a crash of `crm up` would."""
        if self._supervisor is None:
            raise LocalStackError("the stack has not been started")
        self._supervisor.kill()
        self._supervisor.wait()

    def wait_until_ready(self, part: str, within: float = 180.0) -> None:
        """Waits until the part's present process is ready."""
        try:
            self._wait(lambda: self._is_ready(part), f"{part} was not ready", within)
        except LocalStackError as late:
            record = self.record(part)
            raise LocalStackError(f"{late}. It is {record.state.value}: {record.note}") from late

    def _is_ready(self, part: str) -> bool:
        record = self.record(part)
        return record.state is PartState.READY and record.process is not None and record.process.find() is not None

    def _end(self, part: str, number: signal.Signals) -> None:
        identity = ProcessIdentity.of(self.pid(part))
        os.kill(identity.pid, number)
        self._wait(lambda: identity.find() is None, f"{part} did not end", 60.0)

    def _wait(self, condition: Callable[[], bool], otherwise: str, within: float) -> None:
        deadline = time.monotonic() + within
        while not condition():
            if time.monotonic() > deadline:
                raise LocalStackError(f"{otherwise} within {within:.0f} s; the logs are in {self.folder.logs}")
            time.sleep(_POLL)

    def _stack_record(self) -> StackRecord:
        record = read_record(self.folder)
        if record is None:
            raise LocalStackError(f"no stack has been started in {self.folder.root}")
        return record


def _unwatched(_: StackRecord) -> None:
    """Nobody looks on while a test's stack starts."""
