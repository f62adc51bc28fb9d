"""One OpenAPI document for all that the gateway answers: its own routes, and those of the services behind it."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from time import monotonic
from typing import Any

import orjson
from pydantic.json_schema import models_json_schema

from crm_gateway.api.parked import OWN
from crm_gateway.api.proxy import PREFIX
from crm_gateway.interactions import InteractionBatch
from crm_gateway.services import OWNERS, ServiceRequest, Services
from crm_platform.errors import Unavailable
from crm_platform.logging import get_logger

KEPT_SECONDS = 60.0
ASKED_AGAIN_SECONDS = 5.0
"""How long a document is kept that some services are missing from, or may be described wrongly in."""
FETCH_WITHIN_SECONDS = 2.0
COMPONENTS = "#/components/"
TITLE = "Customer platform"
PARKED = "/parked"
"""Every service answers these paths, the gateway too; under /api the name of the service stands behind them."""

Document = dict[str, Any]

log = get_logger(__name__)


class PlatformDescription:
    """The merged document, made again when it is a minute old; a service that is away is described as last known."""

    def __init__(self, services: Services, kept_seconds: float = KEPT_SECONDS) -> None:
        self._services = services
        self._kept_seconds = kept_seconds
        self._known: dict[str, Document] = {}
        self._merged: Document = {}
        self._kept_until = float("-inf")
        self._making = asyncio.Lock()

    async def document(self, own: Callable[[], Document]) -> Document:
        """`own` gives the gateway's own document."""
        async with self._making:
            if monotonic() > self._kept_until:
                answers = await asyncio.gather(*(self._fetch(name) for name in self._services.names))
                unavailable = [name for name, there in zip(self._services.names, answers, strict=True) if not there]
                self._merged = merge(with_request_bodies(own()), self._known, unavailable)
                self._kept_until = monotonic() + (
                    min(ASKED_AGAIN_SECONDS, self._kept_seconds) if unavailable else self._kept_seconds
                )
            return self._merged

    async def _fetch(self, service: str) -> bool:
        """Whether the service described itself just now."""
        try:
            answer = await self._services.send(
                service, ServiceRequest("GET", "/openapi.json", {}, b""), FETCH_WITHIN_SECONDS
            )
            document = orjson.loads(answer.body)
        except (Unavailable, orjson.JSONDecodeError):
            return False
        if answer.status != 200 or not isinstance(document, dict):
            log.warning("a service does not describe itself", service_asked=service, status=answer.status)
            return False
        self._known[service] = document
        return True


def with_request_bodies(own: Document) -> Document:
    """The gateway's document with the bodies that it reads itself, and so FastAPI does not know of."""
    _, schemas = models_json_schema([(InteractionBatch, "validation")], ref_template=COMPONENTS + "schemas/{model}")
    document = deepcopy(own)
    document["components"]["schemas"] = schemas["$defs"] | document["components"]["schemas"]
    return document


def merge(own: Document, services: Mapping[str, Document], unavailable: list[str]) -> Document:
    """One document: paths of the services under /api, components under their own names.

    Where two services name different things alike, the later one's gets the service's name in front. `x-unavailable`
    lists the services that are described as last known, or not at all.
    """
    merged = deepcopy(own)
    merged["info"]["title"] = TITLE
    merged["x-unavailable"] = unavailable
    components = merged.setdefault("components", {})
    for service, document in services.items():
        adopted = _with_own_names(document, service, components)
        for kind, members in adopted.get("components", {}).items():
            components.setdefault(kind, {}).update(members)
        for path, operations in adopted["paths"].items():
            if OWNERS.get(path.split("/")[1]) == service:
                merged["paths"][PREFIX + path] = _operations(operations, service)
    merged["paths"] = dict(_parked_anywhere(merged["paths"]))
    return merged


def _parked_anywhere(paths: Document) -> Iterator[tuple[str, Document]]:
    """The paths, with those of the gateway's own parked events told as what they are for every service."""
    names = sorted({*OWNERS.values(), OWN})
    service = {"name": "service", "in": "path", "required": True, "schema": {"type": "string", "enum": names}}
    for path, operations in paths.items():
        if path.partition("/{")[0] == PARKED:
            yield f"{PREFIX}{PARKED}/{{service}}{path.removeprefix(PARKED)}", {"parameters": [service], **operations}
        else:
            yield path, operations


def _operations(operations: Document, service: str) -> Document:
    """Operations with ids that are unique across services, and a tag that says whose they are."""
    named = {}
    for method, operation in operations.items():
        if isinstance(operation, dict) and "responses" in operation:
            identity = {"operationId": f"{service}_{operation['operationId']}"} if "operationId" in operation else {}
            named[method] = {"tags": [service], **operation, **identity}
        else:
            named[method] = operation
    return named


def _with_own_names(document: Document, service: str, taken: Mapping[str, Any]) -> Document:
    """The document with each component renamed whose name stands for something else already.

    Renaming one changes those that refer to it, so it is repeated until nothing more collides.
    """
    renamed: dict[str, str] = {}
    while True:
        candidate: Document = _renamed(document, renamed)
        collisions = {
            f"{COMPONENTS}{kind}/{name}": f"{COMPONENTS}{kind}/{service.capitalize()}{name}"
            for kind, name, component in _components(candidate)
            if name in taken.get(kind, {}) and taken[kind][name] != component
        }
        if not collisions:
            return candidate
        renamed |= collisions


def _components(document: Document) -> Iterator[tuple[str, str, Any]]:
    for kind, members in document.get("components", {}).items():
        for name, component in members.items():
            yield kind, name, component


def _renamed(document: Document, names: Mapping[str, str]) -> Document:
    """The document with components under their new names, and every reference following them."""
    if not names:
        return document
    followed: Document = _following(document, names)
    followed["components"] = {
        kind: {_new_name(kind, name, names): component for name, component in members.items()}
        for kind, members in followed.get("components", {}).items()
    }
    return followed


def _new_name(kind: str, name: str, names: Mapping[str, str]) -> str:
    return names.get(f"{COMPONENTS}{kind}/{name}", f"{COMPONENTS}{kind}/{name}").rpartition("/")[2]


def _following(value: Any, names: Mapping[str, str]) -> Any:
    match value:
        case dict():
            return {key: _following(member, names) for key, member in value.items()}
        case list():
            return [_following(member, names) for member in value]
        case str():
            return names.get(value, value)
    return value
