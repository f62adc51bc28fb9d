"""The platform's front door, as a program of this machine uses it: with tokens of its own making."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import aiohttp

from crm_local.errors import LocalStackError
from crm_local.folder import StateFolder
from crm_local.plan import Addresses
from crm_local.tokens import issue_token

_ANSWERS_WITHIN = aiohttp.ClientTimeout(total=30)
_ATTEMPTS = 8
_LATER = (429, 503)
_LONGEST_WAIT = 10.0
_POSITION = "CRM-Position"
_AFTER = "CRM-After"


class GatewayRefusalError(LocalStackError):
    """The platform refused a request; `status` is that of the answer."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered; a read that sends `positions` back sees at least what was written."""

    body: Any
    positions: tuple[str, ...] = ()


class Gateway:
    """Requests to the gateway. Each method raises GatewayRefusalError, or LocalStackError if nothing answers.

    A request that is to be sent again later (429, 503, no answer) is: reads change nothing, and a write carries its
    idempotency key, but for one that is sent once.
    """

    def __init__(self, session: aiohttp.ClientSession, url: str, folder: StateFolder) -> None:
        self._session = session
        self._url = url
        self._folder = folder
        self._tokens: dict[str, str] = {}

    async def get(
        self,
        path: str,
        *,
        role: str,
        parameters: Mapping[str, str] | None = None,
        after: Sequence[str] = (),
        attempts: int = _ATTEMPTS,
    ) -> Answer:
        headers = {_AFTER: " ".join(after)} if after else {}
        return await self._request("GET", path, role, headers, parameters=parameters, attempts=attempts)

    async def post(self, path: str, body: object, *, role: str, key: UUID) -> Answer:
        return await self._request("POST", path, role, {"Idempotency-Key": str(key)}, body=body)

    async def post_once(self, path: str, body: object, *, role: str) -> Answer:
        """A write that must not be done twice and carries no key: it is never sent again."""
        return await self._request("POST", path, role, {}, body=body, attempts=1)

    async def _request(
        self,
        method: str,
        path: str,
        role: str,
        headers: Mapping[str, str],
        *,
        body: object = None,
        parameters: Mapping[str, str] | None = None,
        attempts: int = _ATTEMPTS,
    ) -> Answer:
        headers = {**headers, "Authorization": f"Bearer {self._token(role)}"}
        for attempt in range(1, attempts + 1):
            try:
                async with self._session.request(
                    method, self._url + path, headers=headers, json=body, params=parameters
                ) as answer:
                    if answer.status not in _LATER or attempt == attempts:
                        return await _read(answer, f"{method} {path}")
                    wait = _retry_after(answer, attempt)
            except (TimeoutError, aiohttp.ClientError) as error:
                if attempt == attempts or isinstance(error, aiohttp.ClientConnectorError):
                    raise LocalStackError(
                        f"no answer from the gateway at {self._url} ({type(error).__name__}): "
                        "'crm status' shows whether the stack runs, 'crm logs gateway' what it says"
                    ) from error
                wait = _backoff(attempt)
            await asyncio.sleep(wait)
        raise AssertionError("the last attempt answers or raises")

    def _token(self, role: str) -> str:
        if role not in self._tokens:
            self._tokens[role] = issue_token(self._folder, [role])
        return self._tokens[role]


@asynccontextmanager
async def open_gateway(addresses: Addresses, connections: int = 8) -> AsyncIterator[Gateway]:
    """The gateway of the running stack, over at most `connections` connections."""
    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(timeout=_ANSWERS_WITHIN, connector=connector) as session:
        yield Gateway(session, addresses.service_url("gateway"), addresses.folder)


async def _read(answer: aiohttp.ClientResponse, request: str) -> Answer:
    try:
        body = await answer.json(content_type=None)
    except ValueError:
        body = None
    if answer.status >= 400:
        raise GatewayRefusalError(answer.status, f"{request} was refused with {answer.status}: {_problem(body)}")
    return Answer(body, tuple(answer.headers.get(_POSITION, "").split()))


def _problem(body: object) -> str:
    """What a problem document (RFC 9457) says."""
    if not isinstance(body, dict):
        return "no reason given"
    said = ": ".join(str(body[member]) for member in ("title", "detail") if body.get(member)) or "no reason given"
    return "\n  ".join([said, *_errors(body.get("errors"))])


def _errors(errors: object) -> list[str]:
    """What is wrong with which member of the body or which parameter, a line each."""
    if not isinstance(errors, list):
        return []
    return [
        f"{each.get('pointer') or each.get('parameter') or 'the request'}: {each.get('message')}"
        for each in errors
        if isinstance(each, dict)
    ]


def _retry_after(answer: aiohttp.ClientResponse, attempt: int) -> float:
    try:
        return min(float(answer.headers["Retry-After"]), _LONGEST_WAIT)
    except (KeyError, ValueError):
        return _backoff(attempt)


def _backoff(attempt: int) -> float:
    return min(0.2 * 2.0**attempt, _LONGEST_WAIT)
