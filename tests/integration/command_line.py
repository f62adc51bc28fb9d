"""The `crm` command line, as an operator runs it on the stack under test."""

import asyncio
import os
import sys
from dataclasses import dataclass

from crm_local.stack import Stack

ENDS_WITHIN = 120.0


@dataclass(frozen=True)
class Outcome:
    code: int
    output: str
    errors: str


async def crm_command(stack: Stack, *arguments: str, **environment: str) -> Outcome:
    """Run the command to its end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "crm_local",
        *arguments,
        env={**os.environ, "CRM_LOCAL_DIR": str(stack.folder.root), "COLUMNS": "200", **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(), ENDS_WITHIN)
    return Outcome(process.returncode or 0, output.decode(), errors.decode())
