"""docs/runbook.md has an entry for each alert, and names only what exists."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from prometheus_client.metrics import MetricWrapperBase
from typer.core import TyperGroup

from crm_local.cli import app
from crm_local.services import SERVICES, STREAM
from crm_platform import keyring, metrics, mongo_cursors, mongo_parking
from crm_platform.event_store.application import EventStore

ROOT = Path(__file__).parents[2]
RUNBOOK = ROOT / "docs/runbook.md"
ENTRY = re.compile(r"^## (Crm\w+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
CRM = re.compile(r"(?:^|\$\()\s*crm ([^)\n|;]*)", re.MULTILINE)
HEADINGS = ("**For people:**", "**First:**", "**Resolve:**", "**Do not**")


def entries() -> dict[str, str]:
    return dict(ENTRY.findall(RUNBOOK.read_text()))


def blocks() -> str:
    return "\n".join(FENCE.findall(RUNBOOK.read_text()))


def test_every_alert_has_an_entry_and_every_entry_an_alert(alerts: list[dict[str, Any]]) -> None:
    assert set(entries()) == {alert["alert"] for alert in alerts}


@pytest.mark.parametrize("name", entries())
def test_an_entry_says_what_people_notice_what_to_run_first_what_then_and_what_not_to_do(name: str) -> None:
    text = entries()[name]
    places = [text.find(heading) for heading in HEADINGS]
    assert -1 not in places
    assert places == sorted(places)
    first = FENCE.search(text[places[1] : places[2]])
    assert first is not None, "no command in a block"
    assert first[1].strip()


def test_every_link_leads_somewhere() -> None:
    page = RUNBOOK.read_text()
    headings = {heading.lower() for heading in re.findall(r"^## (\w+)", page, re.MULTILINE)}
    for link in LINK.findall(page):
        file, _, anchor = link.partition("#")
        assert (RUNBOOK.parent / file).exists() if file else anchor in headings, link


def _shown_commands() -> list[list[str]]:
    prose = re.sub(r"```.*?```", "", RUNBOOK.read_text(), flags=re.DOTALL)
    inline = [code for code in INLINE.findall(prose) if code.startswith("crm ")]
    return [shlex.split(found) for found in (*CRM.findall(blocks()), *(code.removeprefix("crm ") for code in inline))]


@pytest.mark.parametrize("words", _shown_commands(), ids=" ".join)
def test_the_command_line_has_every_command_shown(words: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    while words and isinstance(command, TyperGroup):
        assert words[0] in command.commands, words
        command, words = command.commands[words[0]], words[1:]
    assert {word for word in words if word.startswith("-")} <= {opt for each in command.params for opt in each.opts}


def test_every_service_that_a_command_asks_is_one() -> None:
    asked = set(re.findall(r"^(?:ask|log|sql|mongo) (\S+)", blocks(), re.MULTILINE))
    assert asked
    assert asked <= {*SERVICES, STREAM}


def test_every_table_and_collection_exists() -> None:
    tables = {f"{EventStore.name}_events", "pg_stat_activity", *_created_tables()}
    named = set(re.findall(r"(?:FROM|UPDATE|INTO|JOIN) (\w+)", blocks()))
    assert named
    assert named <= tables
    collections = {
        mongo_cursors.COLLECTION, mongo_parking.PARKED, mongo_parking.DISCARDED, keyring.COLLECTION,
    }  # fmt: skip
    asked = set(re.findall(r"\bdb\.(\w+)\.", blocks()))
    assert asked
    assert asked <= collections


def _created_tables() -> set[str]:
    return {name for text in _texts() for name in re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", text)}


def test_every_name_in_the_runbook_is_known_to_the_code() -> None:
    """Events of the log, series, tables, columns: what is written with underscores in inline code or after grep."""
    page = RUNBOOK.read_text()
    named = {code for code in INLINE.findall(page) if re.fullmatch("[a-z]+(_[a-z]+)+", code)}
    named |= {word for pattern in searched("[^^]") for word in re.findall("[a-z]+(?:_[a-z]+)+", pattern)}
    assert len(named) > 20
    elsewhere = {"pg_stat_activity", "synchronous_commit", "store_events"}
    texts = " ".join(_texts())
    known_as = {name: re.sub("_(total|bucket|sum|count)$", "", name) for name in named - elsewhere}
    assert {name for name, written in known_as.items() if not re.search(rf"(\b|crm_){written}\b", texts)} == set()


def test_every_series_that_is_searched_for_exists() -> None:
    families = [metric._name for metric in vars(metrics).values() if isinstance(metric, MetricWrapperBase)]
    patterns = searched(r"\^crm_")
    assert patterns
    for pattern in patterns:
        shown = re.match(r"\^crm_\(?([a-z_|]+)", pattern)
        assert shown is not None, pattern
        for start in shown[1].split("|"):
            assert any(f"crm_{start}".startswith(name) or name.startswith(f"crm_{start}") for name in families), pattern


def searched(start: str) -> list[str]:
    """The patterns given to grep that start so."""
    return [pattern for pattern in re.findall(r"grep(?: -E)? '([^']*)'", blocks()) if re.match(start, pattern)]


def _texts() -> Iterator[str]:
    """Every string in the platform's code."""
    for file in (*ROOT.glob("libs/platform/src/**/*.py"), *ROOT.glob("services/*/src/**/*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
