"""Settings of a service process: environment variables with the prefix CRM_, secrets also as files.

A secret `CRM_X` may stand in the file `crm_x` of the folder that `CRM_SECRETS_DIR` names.
"""

import base64
import binascii
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretBytes, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from crm_platform import former_key
from crm_platform.sealing import InstallationKey

PREFIX = "CRM_"
SECRETS_DIR = "CRM_SECRETS_DIR"
KEY_BYTES = 32


class InvalidSettings(SystemExit):
    """The settings are missing or wrong. Uncaught, it ends the process with exit code 2 after one plain message."""

    def __init__(self, message: str) -> None:
        super().__init__(2)
        self.message = message
        sys.stderr.write(message + "\n")

    def __str__(self) -> str:
        return self.message


def _decoded(value: object) -> object:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str):
        return value
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"must be base64 of {KEY_BYTES} random bytes, and is not base64") from None
    if len(key) != KEY_BYTES:
        raise ValueError(f"must be base64 of {KEY_BYTES} random bytes, and holds {len(key)}")
    return key


def _proofs(value: SecretStr) -> SecretStr:
    former_key.read(value.get_secret_value())
    return value


def _each(value: object) -> object:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    return tuple(text.split()) if isinstance(text, str) else value


SecretKey = Annotated[SecretBytes, BeforeValidator(_decoded)]
"""32 secret bytes, given as base64; `get_secret_value()` is the bytes."""


PhoneRegion = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
"""A country (ISO 3166) in which phone numbers without a country code are read."""


class ServiceSettings(BaseSettings):
    """What every service is told. A service subclasses it to add its own settings.

    Raises InvalidSettings, which names every variable that is wrong or missing.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True)

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    instance: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = "0"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    kafka_bootstrap: Annotated[str, Field(min_length=1)]
    mongodb_uri: SecretStr
    mongodb_database: str | None = None
    postgres_uri: SecretStr | None = None

    auth_jwks: Annotated[str, Field(min_length=1)]
    auth_issuer: Annotated[str, Field(min_length=1)]
    auth_audience: Annotated[str, Field(min_length=1)]

    installation_key: SecretKey
    accepted_installation_keys: Annotated[tuple[SecretKey, ...], NoDecode, BeforeValidator(_each)] = ()
    """Separated by spaces or lines: what is accepted beside the key while it is changed (docs/adr/0019)."""
    former_installation_proofs: Annotated[
        tuple[Annotated[SecretStr, AfterValidator(_proofs)], ...], NoDecode, BeforeValidator(_each)
    ] = ()
    """Separated by spaces or lines: what is kept of keys that were given up, so that old records are still proved."""
    cursor_key: SecretKey

    checkpoint_seconds: Annotated[float, Field(gt=0)] = 60.0
    """How often a service that stores events signs what was appended."""
    purge_seconds: Annotated[float, Field(gt=0)] = 3600.0
    """How often a topic that others write in the clear is purged of what was taken in."""

    body_limit_bytes: Annotated[int, Field(ge=1024)] = 256 * 1024
    """The longest request body, unless a route accepts more."""
    requests_in_work: Annotated[int, Field(ge=1)] = 512
    """How many requests are worked on at once; more are answered with 503."""
    drain_seconds: Annotated[float, Field(ge=0)] = 0.0
    """How long a process that was told to stop keeps serving while /readyz already says no."""
    shutdown_seconds: Annotated[int, Field(ge=1)] = 10
    """How long requests in flight may take after that."""

    otlp_endpoint: Annotated[str, Field(pattern=r"^https?://[^/]+")] | None = None
    """Base URL of what receives spans, such as http://collector:4318; without it nothing is traced."""
    otlp_sample_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Which part of the traces that begin here is kept; a trace that a caller began is kept if the caller keeps it."""

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(_secrets_dir=_secrets_folder(), **values)
        except ValidationError as error:
            raise InvalidSettings(_explain(type(self), error)) from None

    def database(self, service: str) -> str:
        """The name of the service's MongoDB database."""
        return self.mongodb_database or f"crm_{service}"

    def installation(self) -> InstallationKey:
        """The installation's key, with those that are accepted beside it."""
        others = [key.get_secret_value() for key in self.accepted_installation_keys]
        former = [former_key.read(proofs.get_secret_value()) for proofs in self.former_installation_proofs]
        return InstallationKey(self.installation_key.get_secret_value(), others, former)

    def event_store_uri(self) -> str:
        """The PostgreSQL URI of a service with an event store. Raises InvalidSettings if it is not set."""
        if self.postgres_uri is None:
            raise InvalidSettings("The settings are incomplete:\n  CRM_POSTGRES_URI: is required for the event store")
        return self.postgres_uri.get_secret_value()


def _secrets_folder() -> str | None:
    folder = os.environ.get(SECRETS_DIR)
    if folder and not Path(folder).is_dir():
        raise InvalidSettings(f"The settings cannot be read:\n  {SECRETS_DIR}: there is no folder {folder}")
    return folder or None


def _explain(settings: type[ServiceSettings], error: ValidationError) -> str:
    lines = ["The settings are wrong or incomplete:"]
    for problem in error.errors(include_input=False, include_url=False, include_context=False):
        field = str(problem["loc"][0]) if problem["loc"] else ""
        missing = problem["type"] == "missing"
        reason = "is required" if missing else problem["msg"].removeprefix("Value error, ")
        lines.append(f"  {PREFIX}{field.upper()}: {reason}{_where(settings, field) if missing else ''}")
    return "\n".join(lines)


def _where(settings: type[ServiceSettings], field: str) -> str:
    known = settings.model_fields.get(field)
    secret = known is not None and known.annotation in (SecretStr, SecretBytes)
    return f" (as a variable, or as the file {PREFIX.lower()}{field} in {SECRETS_DIR})" if secret else ""
