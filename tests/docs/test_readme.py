"""README.md and the guides name only what exists, and show only commands that the command line accepts."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from crm_local.cli import app
from crm_local.publish.json_lines import read_json_lines
from crm_local.publish.lines import read_lines
from crm_local.publish.outcome import Taken

ROOT = Path(__file__).parents[2]
PAGES = tuple(ROOT / name for name in ("README.md", "docs/adding-an-event.md", "docs/adding-a-service.md"))
MADE_BY_THE_READER = ("loyalty", ".local", ".venv", "touches.jsonl", "answer.txt")
"""What a page asks its reader to make, and what a run leaves."""

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
FILE = re.compile(r"[\w.-]+(/[\w.-]+)*\.(md|py|toml|yml|txt|lock|sql)|Makefile|Dockerfile")
CRM = re.compile(r"(?:^|\$\()\s*(?:[A-Z_]+=\S+ )*crm ([^)\n|;]*)", re.MULTILINE)
MAKE = re.compile(r"(?:^|`)\s*(?:[A-Z_]+=\S+ )*make ([a-z]+)", re.MULTILINE)

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def fenced(page: Path, *languages: str) -> list[str]:
    return [body for language, body in FENCE.findall(page.read_text()) if language in languages]


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text())


def named_paths(page: Path) -> Iterator[str]:
    """Inline code that is a file or folder of the repository. Files of a service's shape are named without folders."""
    tops = {path.name for path in ROOT.iterdir() if path.is_dir()}
    for code in INLINE.findall(prose(page)):
        is_ours = not any(made in code for made in MADE_BY_THE_READER)
        if is_ours and (FILE.fullmatch(code) or (code.partition("/")[0] in tops and " " not in code)):
            yield code


def exists(named: str) -> bool:
    of_every_service = ROOT / "services/sales/src/crm_sales"
    return any(
        path.exists() for path in (ROOT / named, of_every_service / named, of_every_service / named.removesuffix(".py"))
    )


def shell_commands(page: Path) -> list[list[str]]:
    """The arguments of each `crm` in the page's shell blocks."""
    blocks = "\n".join(fenced(page, "sh")).replace("\\\n", " ")
    return [shlex.split(found, comments=True) for found in CRM.findall(blocks)]


@every_page
def test_every_link_leads_to_a_file(page: Path) -> None:
    links = [link for link in LINK.findall(prose(page)) if not link.startswith("http")]
    assert links
    assert [link for link in links if not (page.parent / link).exists()] == []


@every_page
def test_every_file_and_folder_that_is_named_exists(page: Path) -> None:
    named = list(named_paths(page))
    assert named
    assert [path for path in named if not exists(path)] == []


@every_page
def test_every_make_target_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(MAKE.findall(page.read_text()))
    assert named
    assert named <= targets


@pytest.mark.parametrize(
    "arguments", [arguments for page in PAGES for arguments in shell_commands(page)], ids=lambda arguments: arguments[0]
)
def test_the_command_line_accepts_every_command_shown(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "touches.jsonl").touch()
    name, *rest = arguments
    commands(app)[name].make_context(name, rest).close()


def test_the_pages_show_commands_and_a_wrong_one_is_refused() -> None:
    shown = {arguments[0] for arguments in shell_commands(PAGES[0])}
    assert {"status", "logs", "up", "down", "customer", "token", "publish", "secrets"} <= shown
    with pytest.raises(typer.TyperException):
        commands(app)["status"].make_context("status", ["--loud"])


@every_page
def test_commands_and_options_in_prose_exist(page: Path) -> None:
    options = {option for command in commands(app).values() for each in command.params for option in each.opts}
    for code in INLINE.findall(prose(page)):
        words = code.split()
        if words[0] == "crm" and len(words) > 1:
            known = commands(app)[words[1]]
            assert {word for word in words if word.startswith("-")} <= {o for p in known.params for o in p.opts}, code
        elif words[0].startswith("--"):
            assert words[0] in options, code


@every_page
def test_every_json_block_can_be_read(page: Path) -> None:
    for block in fenced(page, "json"):
        json.loads(block)
    for body in re.findall(r"-d '(\{.*?\})'", "\n".join(fenced(page, "sh")), re.DOTALL):
        json.loads(body)


def test_the_records_shown_are_taken_by_crm_publish(tmp_path: Path) -> None:
    (records,) = fenced(PAGES[0], "jsonl")
    file = tmp_path / "touches.jsonl"
    file.write_text(records)
    with file.open("rb") as opened:
        outcomes = list(read_json_lines(read_lines(opened)))
    assert len(outcomes) == len(records.splitlines())
    assert all(isinstance(outcome, Taken) for outcome in outcomes)


def commands(line: typer.Typer) -> dict[str, Any]:
    """The subcommands, as the command line builds them."""
    group: Any = typer.main.get_command(line)
    found: dict[str, Any] = group.commands
    return found
