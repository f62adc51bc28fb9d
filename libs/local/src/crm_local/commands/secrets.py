"""`crm secrets`: the files that docker-compose.yml mounts."""

from pathlib import Path

from rich.console import Console

from crm_local.credentials import create_credentials, postgres_password
from crm_local.folder import StateFolder
from crm_local.postgres import database_of
from crm_local.services import EVENT_STORING, POSTGRES_ROLES
from crm_local.settings import LocalSettings

# What containers read; the key that signs tokens stays where it is.
_MOUNTED = ("crm_*", "password_*")
_POSTGRES = "postgres:5432"


def secrets() -> None:
    """Make the secrets that docker compose mounts: the same keys and passwords each time."""
    folder = LocalSettings().folder
    folder.create()
    create_credentials(folder, POSTGRES_ROLES)
    made = folder.root / "compose"
    _write_all(folder, made)
    Console().print(f"The secrets for docker compose are in {made}.", highlight=False, soft_wrap=True)


def _write_all(folder: StateFolder, made: Path) -> None:
    made.mkdir(mode=0o700, exist_ok=True)
    made.chmod(0o700)
    for pattern in _MOUNTED:
        for file in folder.secrets.glob(pattern):
            _write(made / file.name, file.read_text())
    for service in EVENT_STORING:
        role = database_of(service)
        uri = f"postgresql://{role}:{postgres_password(folder, role)}@{_POSTGRES}/{role}"
        _write(made / f"postgres_uri_{service}", uri)
    _write(made / "jwks.json", folder.jwks.read_text())


def _write(file: Path, content: str) -> None:
    # A container sees a file with the mode it has here, and reads it as a user of its own: the file is open to all,
    # and its folder keeps everybody else out. One that did not change stays, because it may be mounted.
    if not file.exists() or file.read_text() != content:
        file.unlink(missing_ok=True)
        file.write_text(content)
    file.chmod(0o444)
