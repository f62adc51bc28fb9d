"""`crm logs`: what a part wrote, made readable."""

import json
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from crm_local.background import SUPERVISOR
from crm_local.errors import LocalStackError
from crm_local.folder import StateFolder
from crm_local.plan import PARTS
from crm_local.settings import LocalSettings

_LOGS = (*PARTS, "topics", SUPERVISOR)
_STYLES = {"warning": "yellow", "error": "red", "critical": "bold red", "debug": "dim"}
_POLL = 0.2


def logs(
    service: Annotated[str, typer.Argument(help=f"One of {', '.join(_LOGS)}.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written from now on.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines to show.")] = 100,
) -> None:
    """Show the last lines that a part logged."""
    file = _log_file(LocalSettings().folder, service)
    console = Console(soft_wrap=True)
    try:
        for line in _read(file, lines, follow):
            console.print(readable(line))
    except KeyboardInterrupt:
        return


def readable(line: str) -> Text:
    """A structured line as time, level, event and fields; any other line as it is."""
    try:
        entry = json.loads(line)
    except ValueError:
        return Text(line)
    if not isinstance(entry, dict) or "event" not in entry:
        return Text(line)
    moment = entry.pop("ts", None) or entry.pop("timestamp", "")
    level = str(entry.pop("level", "info"))
    event = entry.pop("event")
    fields = " ".join(f"{key}={value}" for key, value in entry.items() if key not in ("service", "version"))
    return Text.assemble(
        (f"{moment} ", "dim"), (f"{level:<8}", _STYLES.get(level, "green")), f"{event} ", (fields, "cyan")
    )


def _log_file(folder: StateFolder, service: str) -> Path:
    if service not in _LOGS:
        raise LocalStackError(f"no part is called {service!r}: there are {', '.join(_LOGS)}")
    file = folder.log(service)
    if not file.exists():
        raise LocalStackError(f"{service} has logged nothing yet in {folder.root}")
    return file


def _read(file: Path, last: int, follow: bool) -> Iterator[str]:
    with file.open(errors="replace") as opened:
        for line in deque(opened, maxlen=last):
            yield line.rstrip("\n")
        pending = ""
        while follow:
            pending += opened.readline()
            if pending.endswith("\n"):
                yield pending.rstrip("\n")
                pending = ""
            else:
                time.sleep(_POLL)
