"""Parked events of all services, as the gateway shows them and has them resolved."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ValidationError

from crm_local.errors import LocalStackError
from crm_local.gateway import Gateway, GatewayRefusalError
from crm_local.services import SERVICES

_ROLE = "admin"
_ROOT = "/api/parked"
_ATTEMPTS = 2

M = TypeVar("M", bound=BaseModel)


class ParkedKey(BaseModel):
    """A key whose events wait, all of them in order behind the first, which could not be applied."""

    service: str
    consumer: str
    topic: str
    key: str
    events: int
    event_id: str | None
    event_type: str | None
    reason: str | None
    parked_at: datetime

    @property
    def first_event(self) -> tuple[str, str | None, str | None]:
        """Which event could not be applied, as far as it says."""
        return self.topic, self.event_type, self.event_id

    @property
    def path(self) -> str:
        steps = (self.service, self.consumer, self.topic, self.key)
        return "/".join((_ROOT, *(quote(step, safe="") for step in steps)))


class ParkedEvent(BaseModel):
    """One event that waits: its record with the personal data sealed, or its bytes in base64 where it is no JSON."""

    offset: int
    position: int | None
    event_id: str | None
    event_type: str | None
    parked_at: datetime
    reason: str | None
    record: Any = None
    raw: str | None = None


class Retried(BaseModel):
    """What a retry did; `reason` says why the first of the remaining events cannot be applied."""

    applied: int
    remaining: int
    reason: str | None = None


class Discarded(BaseModel):
    discarded: int
    remaining: int


class _Listing(BaseModel):
    items: list[dict[str, Any]]


class _Events(BaseModel):
    events: list[ParkedEvent]


@dataclass(frozen=True)
class Found:
    """The parked keys, the longest parked first; `silent` says which services did not tell, and why."""

    keys: list[ParkedKey] = field(default_factory=list)
    silent: dict[str, str] = field(default_factory=dict)


class Desk:
    """Requests about parked events. Each method raises LocalStackError in the platform's own words."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def keys(self, service: str | None = None, consumer: str | None = None) -> Found:
        """What is parked, in one service or in all, for one consumer or for all."""
        asked = _services(service)
        answers = await asyncio.gather(*(self._keys_of(each) for each in asked), return_exceptions=True)
        found = Found()
        for name, answer in zip(asked, answers, strict=True):
            if isinstance(answer, GatewayRefusalError):
                found.silent[name] = str(answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found.keys.extend(key for key in answer if consumer in (None, key.consumer))
        found.keys.sort(key=lambda key: key.parked_at)
        return found

    async def everywhere(self, key: str, service: str | None, consumer: str | None) -> list[ParkedKey]:
        """The key at each consumer that has parked it. Raises LocalStackError if there is none."""
        found = await self.keys(service, consumer)
        named = [each for each in found.keys if each.key == key]
        if not named:
            unknown = f"; {', '.join(found.silent)} did not answer" if found.silent else ""
            raise LocalStackError(f"no key {key} is parked there{unknown}: 'crm parked list' shows what is")
        return named

    async def events(self, key: ParkedKey) -> list[ParkedEvent]:
        """What waits of a key, in order; the first 200 at most."""
        return _read(_Events, (await self._gateway.get(key.path, role=_ROLE, attempts=_ATTEMPTS)).body).events

    async def retry(self, key: ParkedKey) -> Retried:
        """Apply what waits, in order, as far as it can be."""
        return _read(Retried, await self._resolve(f"{key.path}/retry", {}))

    async def discard(self, key: ParkedKey, reason: str, *, everything: bool) -> Discarded:
        """Give up the first event, or all."""
        return _read(Discarded, await self._resolve(f"{key.path}/discard", {"reason": reason, "all": everything}))

    async def _keys_of(self, service: str) -> list[ParkedKey]:
        answer = await self._gateway.get(f"{_ROOT}/{service}", role=_ROLE, attempts=_ATTEMPTS)
        return [_read(ParkedKey, {**item, "service": service}) for item in _read(_Listing, answer.body).items]

    async def _resolve(self, path: str, body: object) -> Any:
        try:
            return (await self._gateway.post_once(path, body, role=_ROLE)).body
        except LocalStackError as failure:
            if isinstance(failure, GatewayRefusalError) and failure.status < 500:
                raise
            raise LocalStackError(
                f"{failure}\nIt may have been done: 'crm parked list' shows what is left"
            ) from failure


def _services(service: str | None) -> Sequence[str]:
    if service is None:
        return SERVICES
    if service not in SERVICES:
        raise LocalStackError(f"no service is called {service!r}: there are {', '.join(SERVICES)}")
    return (service,)


def _read(kind: type[M], answer: Any) -> M:
    try:
        return kind.model_validate(answer)
    except ValidationError as error:
        members = ", ".join(".".join(map(str, each["loc"])) for each in error.errors(include_input=False))
        raise LocalStackError(f"the gateway's answer cannot be read by this release ({members})") from error
