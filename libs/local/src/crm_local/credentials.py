"""The secrets of the local stack: made once, kept in files that only their owner reads."""

import base64
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from crm_local.errors import LocalStackError
from crm_local.folder import StateFolder
from crm_platform import former_key
from crm_platform.sealing import InstallationKey

POSTGRES_SUPERUSER = "postgres"
# Every service keeps or wraps subject keys, looks up blind indexes or signs cursors with these.
_PLATFORM_KEYS = ("crm_installation_key", "crm_identifier_pepper", "crm_cursor_key")
INSTALLATION_KEY, ACCEPTED_KEYS, FORMER_PROOFS = (
    "crm_installation_key",
    "crm_accepted_installation_keys",
    "crm_former_installation_proofs",
)
OWN_SECRETS = frozenset(name.upper() for name in (*_PLATFORM_KEYS, ACCEPTED_KEYS, FORMER_PROOFS, "crm_postgres_uri"))
"""What a stack has of its own: a shell's variables of these names belong to another installation."""


def create_credentials(folder: StateFolder, postgres_roles: tuple[str, ...]) -> None:
    """Makes what is missing: the platform's keys, a password for each role, the key pair that signs tokens."""
    for name in _PLATFORM_KEYS:
        _keep(folder.secrets / name, random_key)
    for name in (ACCEPTED_KEYS, FORMER_PROOFS):
        # Empty until a key is changed: containers mount them all the same.
        _keep(folder.secrets / name, str)
    for role in (POSTGRES_SUPERUSER, *postgres_roles):
        _keep(_password_file(folder, role), lambda: secrets.token_urlsafe(24))
    _keep(_signing_key_file(folder), _new_signing_key)
    folder.jwks.write_text(json.dumps({"keys": [_public_jwk(signing_key(folder))]}, indent=2) + "\n")


def postgres_password(folder: StateFolder, role: str) -> str:
    """The password of a PostgreSQL role. Raises LocalStackError before the first start."""
    return _read(_password_file(folder, role))


def installation(folder: StateFolder) -> InstallationKey:
    """The key that wraps the subjects' keys, with those beside it. Raises LocalStackError before the first start."""
    secret, *others = (
        base64.b64decode(key) for key in (*lines(folder, INSTALLATION_KEY), *lines(folder, ACCEPTED_KEYS))
    )
    return InstallationKey(secret, others, map(former_key.read, lines(folder, FORMER_PROOFS)))


def lines(folder: StateFolder, name: str) -> list[str]:
    """What a secret file lists. Raises LocalStackError before the first start."""
    return _read(folder.secrets / name).split()


def replace_secret(file: Path, content: str) -> None:
    """Write a secret anew in one step: who reads it meanwhile sees the old one or the new one, whole."""
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    new.replace(file)


def signing_key(folder: StateFolder) -> Ed25519PrivateKey:
    """The key that signs this stack's tokens. Raises LocalStackError before the first start."""
    key = load_pem_private_key(_read(_signing_key_file(folder)).encode(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise LocalStackError(f"{_signing_key_file(folder)} holds no Ed25519 key: remove it and start again")
    return key


def key_id(key: Ed25519PrivateKey) -> str:
    """The `kid` of a signing key: the first characters of its public part."""
    return _base64url(_public_bytes(key))[:16]


def _public_jwk(key: Ed25519PrivateKey) -> dict[str, str]:
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "alg": "EdDSA",
        "use": "sig",
        "kid": key_id(key),
        "x": _base64url(_public_bytes(key)),
    }


def _public_bytes(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def _base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def random_key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def _new_signing_key() -> str:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _password_file(folder: StateFolder, role: str) -> Path:
    return folder.secrets / f"password_{role}"


def _signing_key_file(folder: StateFolder) -> Path:
    return folder.secrets / "token_signing_key.pem"


def _keep(file: Path, make: Callable[[], str]) -> None:
    if file.exists():
        file.chmod(0o600)
        return
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(make())


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except FileNotFoundError as error:
        raise LocalStackError(f"{file} is missing: the stack makes it when it starts, so run 'crm up' once") from error
