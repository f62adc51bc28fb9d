import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from crm_local.commands.logs import readable
from crm_local.folder import StateFolder


def crm(folder: StateFolder, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "crm_local", *arguments],
        env={**os.environ, "CRM_LOCAL_DIR": str(folder.root), "CRM_GATEWAY_PORT": "0", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("logs", "nats"), "no part is called 'nats': there are kafka, mongodb, postgres, contacts"),
        (("logs", "kafka"), "kafka has logged nothing yet"),
        (("token", "--role", "boss"), "unknown role 'boss': take one of sales, service"),
        (("token", "--role", "sales"), "run 'crm up' once"),
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
