"""A replica set of three members, for what a lone one cannot show: a primary that hands over, or falls silent."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from door import eventually
from pymongo import AsyncMongoClient
from pymongo.errors import AutoReconnect, OperationFailure, PyMongoError
from tests.faults.patience import PATIENCE

from crm_local.mongodb import find_mongod
from crm_local.ports import HOST, free_ports

NAME = "trio"
MEMBERS = 3
ELECTION_MS = 2_000
MEMORY_NEEDED = 2 * 1024**3
STARTS_WITHIN = 60.0 * PATIENCE


@dataclass
class ReplicaSet:
    """Three mongod processes, by port."""

    processes: dict[int, subprocess.Popen[bytes]]

    @property
    def uri(self) -> str:
        return f"mongodb://{','.join(f'{HOST}:{port}' for port in self.processes)}/?replicaSet={NAME}"

    async def primary(self) -> int | None:
        """The port of the member that says it is the primary."""
        for port in self.processes:
            try:
                async with _direct(port) as client:
                    if (await client.admin.command("hello")).get("isWritablePrimary"):
                        return port
            except PyMongoError:
                continue
        return None

    async def step_down(self, seconds: int = 4) -> None:
        """The primary hands over, ready or not."""
        await eventually(self._has_primary, "there is a primary", within=STARTS_WITHIN)
        port = await self.primary()
        if port is not None:
            await step_down(f"mongodb://{HOST}:{port}/?directConnection=true", seconds)

    async def freeze_primary(self) -> psutil.Process:
        """SIGSTOP of the primary; it is for the caller to resume it."""
        await eventually(self._has_primary, "there is a primary", within=STARTS_WITHIN)
        port = await self.primary()
        assert port is not None
        process = psutil.Process(self.processes[port].pid)
        process.suspend()
        return process

    async def _has_primary(self) -> bool:
        return await self.primary() is not None


async def step_down(uri: str, seconds: int) -> None:
    """The primary steps down by force; the server ends the connection that asked for it."""
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(uri)
    try:
        await client.admin.command({"replSetStepDown": seconds, "force": True})
    except (AutoReconnect, OperationFailure):
        return  # it had stepped down already, or ended the connection in doing so
    finally:
        await client.close()


@asynccontextmanager
async def replica_set(folder: Path) -> AsyncIterator[ReplicaSet]:
    """Three members that elect within seconds, with caches of 256 MB."""
    ports = free_ports(MEMBERS)
    members = ReplicaSet({port: await asyncio.to_thread(_start, folder / str(port), port) for port in ports})
    try:
        await eventually(lambda: _initiated(ports), "the members take their configuration", within=STARTS_WITHIN)
        await eventually(members._has_primary, "they elect a primary", within=STARTS_WITHIN)
        yield members
    finally:
        for process in members.processes.values():
            psutil.Process(process.pid).resume()
            process.kill()
            await asyncio.to_thread(process.wait)


async def _initiated(ports: list[int]) -> bool:
    config = {
        "_id": NAME,
        "members": [{"_id": n, "host": f"{HOST}:{port}"} for n, port in enumerate(ports)],
        "settings": {"electionTimeoutMillis": ELECTION_MS, "heartbeatIntervalMillis": 500},
    }
    try:
        async with _direct(ports[0]) as client:
            await client.admin.command("replSetInitiate", config)
    except OperationFailure as failure:
        return failure.code == _ALREADY_INITIALIZED
    except PyMongoError:
        return False
    return True


def _start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True)
    with (folder / "mongod.log").open("wb") as log:
        return subprocess.Popen(
            [
                str(find_mongod()),
                f"--dbpath={folder}",
                f"--port={port}",
                f"--bind_ip={HOST}",
                "--nounixsocket",
                f"--replSet={NAME}",
                "--wiredTigerCacheSizeGB=0.25",
                "--oplogSize=128",
                "--setParameter=transactionLifetimeLimitSeconds=10",
                "--setParameter=diagnosticDataCollectionEnabled=false",
                "--quiet",
            ],
            stdout=log,
            stderr=log,
        )


@asynccontextmanager
async def _direct(port: int) -> AsyncIterator[AsyncMongoClient[dict[str, Any]]]:
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
        HOST, port, directConnection=True, serverSelectionTimeoutMS=1_000, socketTimeoutMS=2_000
    )
    try:
        yield client
    finally:
        await client.close()


_ALREADY_INITIALIZED = 23
