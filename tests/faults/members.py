"""More processes of a service than the stack starts: further workers, with names of their own in their groups."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from door import eventually
from tests.faults.patience import PATIENCE

from crm_local.ports import HOST, free_ports
from crm_local.stack import Stack

READY_WITHIN = 60.0 * PATIENCE


@dataclass
class Member:
    """A worker beside the stack's own."""

    process: subprocess.Popen[bytes]
    url: str
    log_file: Path

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    async def terminate(self, within: float = 20.0) -> int:
        """Its exit code after SIGTERM."""
        self.process.terminate()
        return await asyncio.to_thread(self.process.wait, within)

    async def is_ready(self) -> bool:
        try:
            async with aiohttp.ClientSession() as session, session.get(f"{self.url}/readyz") as answer:
                return answer.status == 200
        except (aiohttp.ClientError, OSError):
            return False


@asynccontextmanager
async def member_of(
    stack: Stack, service: str, instance: str, role: str = "worker", **settings: str
) -> AsyncIterator[Member]:
    """One more ready process of a service, gone in the end."""
    launch = stack.addresses.part(service).launch()
    (port,) = free_ports(1)
    environment = {**launch.environment, "CRM_INSTANCE": instance, "CRM_PORT": str(port), **settings}
    log_file = stack.folder.log(f"{service}-{instance}")
    command = [sys.executable, "-P", "-m", f"crm_{service}", role]
    with log_file.open("wb") as log:
        process = await asyncio.to_thread(
            subprocess.Popen,
            command,
            env={**os.environ, **environment},
            stdout=log,
            stderr=log,
            cwd=launch.working_folder,
        )
    member = Member(process, f"http://{HOST}:{port}", log_file)
    try:
        await eventually(member.is_ready, f"{service} {instance} is ready", within=READY_WITHIN)
        yield member
    finally:
        if member.is_running:
            process.send_signal(signal.SIGCONT)
            process.kill()
        await asyncio.to_thread(process.wait)
