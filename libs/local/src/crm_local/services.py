"""The platform's services as child processes, and the environment each one is given."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from crm_local.credentials import OWN_SECRETS
from crm_local.errors import NotReadyError
from crm_local.folder import StateFolder
from crm_local.part import Part
from crm_local.ports import HOST
from crm_local.postgres import database_of
from crm_local.process import Launch
from crm_local.tokens import AUDIENCE, ISSUER

EVENT_STORING = ("contacts", "sales", "service", "marketing")
SERVICES = (*EVENT_STORING, "analytics", "gateway")
STREAM = "analytics-stream"
POSTGRES_ROLES = tuple(database_of(name) for name in EVENT_STORING)
_ROUTED = ("contacts", "sales", "service", "marketing", "analytics")
_NOT_ALIVE = 503


@dataclass(frozen=True)
class Surroundings:
    """What every service is told: where the infrastructure and the other services are."""

    folder: StateFolder
    kafka_bootstrap: str
    mongodb_uri: str
    postgres_uris: Mapping[str, str]
    ports: Mapping[str, int]

    def environment(self, part: str) -> dict[str, str]:
        """The settings of one service process, as environment variables."""
        settings = {
            "CRM_HOST": HOST,
            "CRM_PORT": str(self.ports[part]),
            "CRM_KAFKA_BOOTSTRAP": self.kafka_bootstrap,
            "CRM_MONGODB_URI": self.mongodb_uri,
            "CRM_AUTH_JWKS": str(self.folder.jwks),
            "CRM_AUTH_ISSUER": ISSUER,
            "CRM_AUTH_AUDIENCE": AUDIENCE,
            "CRM_SECRETS_DIR": str(self.folder.secrets),
            "CRM_INSTANCE": "0",
            "PYTHONUNBUFFERED": "1",
        }
        if part in self.postgres_uris:
            settings["CRM_POSTGRES_URI"] = self.postgres_uris[part]
        if part == "gateway":
            settings |= {f"CRM_{name.upper()}_URL": f"http://{HOST}:{self.ports[name]}" for name in _ROUTED}
        return settings


class Service(Part):
    """One service in one process: all its roles, or only its stream."""

    ready_within = 180.0
    answers_within = 5.0
    """Seconds that a probe waits for its answer."""

    def __init__(self, name: str, surroundings: Surroundings) -> None:
        self.name = name
        self.address = f"http://{HOST}:{surroundings.ports[name]}"
        self._surroundings = surroundings
        service, _, role = name.partition("-")
        self._module = f"crm_{service}"
        self._role = role or "all"

    def launch(self) -> Launch:
        return Launch(
            argv=(sys.executable, "-P", "-m", self._module, self._role),
            environment=self._surroundings.environment(self.name),
            not_inherited=OWN_SECRETS,
            working_folder=self._surroundings.folder.data(self.name),
            stop_within=30.0,
        )

    async def check_ready(self) -> None:
        status, says = await self._ask("/readyz")
        if status != 200:
            raise NotReadyError(f"GET {self.address}/readyz answered {status}: {says}")

    async def is_stuck(self) -> bool:
        try:
            status, _ = await self._ask("/livez")
        except NotReadyError:
            return True
        return status == _NOT_ALIVE

    async def _ask(self, path: str) -> tuple[int, str]:
        """The status, and what the answer says beside it."""
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self.answers_within)) as session,
                session.get(self.address + path) as answer,
            ):
                return answer.status, _detail(await answer.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NotReadyError(f"no answer from {self.address}{path}: {type(error).__name__}") from error


def _detail(body: bytes) -> str:
    """What a problem says in its detail; nothing where the answer is no problem."""
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, TypeError, KeyError):
        return ""


def topics_launch(folder: StateFolder, kafka_bootstrap: str) -> Launch:
    """The step between infrastructure and services: declares the platform's topics, as often as it is run."""
    return Launch(
        argv=(sys.executable, "-P", "-m", "crm_platform.topics"),
        environment={"CRM_KAFKA_BOOTSTRAP": kafka_bootstrap},
        working_folder=folder.run,
    )
