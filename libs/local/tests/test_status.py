"""What `crm status` shows, on a narrow terminal and while a part starts."""

import json
import os
from io import StringIO

import pytest
from rich.console import Console

from crm_local.commands.status import PartStatus, examine, table
from crm_local.credentials import create_credentials
from crm_local.folder import StateFolder
from crm_local.plan import PARTS, PORT_NAMES
from crm_local.process import ProcessIdentity
from crm_local.services import POSTGRES_ROLES
from crm_local.state import PartRecord, PartState, Phase, StackRecord

_ADDRESS = "http://127.0.0.1:65535"
_WRONG = f"GET {_ADDRESS}/readyz answered 503"


@pytest.mark.parametrize(("health", "shown_first"), [("starting", "starting"), ("healthy", "healthy"), (_WRONG, "GET")])
def test_at_80_columns_only_a_long_health_wraps(health: str, shown_first: str) -> None:
    parts = [
        PartStatus(
            name=name, address=_ADDRESS, pid=4_194_304, health=health, restarts=0, uptime_seconds=359_999, log=""
        )
        for name in PARTS
    ]
    console = Console(width=80, file=StringIO())
    with console.capture() as shown:
        console.print(table(parts))
    rows = [line.split() for line in shown.get().splitlines()]
    for name in PARTS:
        assert [name, _ADDRESS, "4194304", shown_first] in [row[:4] for row in rows]
    assert max(map(len, shown.get().splitlines())) <= 80


async def test_a_part_that_starts_is_starting_and_no_more(folder: StateFolder) -> None:
    this_process = ProcessIdentity.of(os.getpid())
    part = PartRecord(name="sales", address=_ADDRESS, log="", state=PartState.STARTING, process=this_process)
    create_credentials(folder, POSTGRES_ROLES)
    folder.ports.write_text(json.dumps(dict.fromkeys(PORT_NAMES, 1)))
    record = StackRecord(supervisor=this_process, phase=Phase.STARTING, parts={"sales": part})
    assert [each.health for each in await examine(folder, record)] == ["starting"]
