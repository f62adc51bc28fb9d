"""The platform's front door as its users have it: HTTP at the gateway, and the topic of the channel adapters."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from multidict import CIMultiDictProxy

from crm_local.stack import Stack


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the platform. `position` is what a later read sends as CRM-After."""

    status: int
    body: Any
    headers: CIMultiDictProxy[str]

    @property
    def position(self) -> str:
        return self.headers.get("CRM-Position", "")

    @property
    def id(self) -> str:
        return str(self.body["id"])

    def expect(self, status: int) -> "Reply":
        """The reply, if it has that status."""
        assert self.status == status, f"{self.status}: {self.body}"
        return self

    def is_problem(self, status: int) -> bool:
        """Whether it is a refusal as every refusal of the platform is: problem+json that repeats its status."""
        return (
            self.status == status
            and self.headers["Content-Type"].startswith("application/problem+json")
            and self.body["status"] == status
            and bool(self.body["title"] and self.body["detail"])
        )


class Door:
    """Requests in the name of a role; reads and writes go to the gateway only."""

    def __init__(self, stack: Stack, session: aiohttp.ClientSession) -> None:
        self.stack = stack
        self._session = session
        self._tokens: dict[str, str] = {}
        self._subject: str | None = None

    def of(self, subject: str) -> "Door":
        """The same door for one person, who is called that."""
        door = Door(self.stack, self._session)
        door._subject = subject
        return door

    async def get(self, path: str, *, role: str = "analyst", after: str = "", **parameters: str) -> Reply:
        return await self.send("GET", path, role=role, headers={"CRM-After": after} if after else {}, params=parameters)

    async def post(self, path: str, body: object, *, role: str, headers: Mapping[str, str] | None = None) -> Reply:
        return await self.send("POST", path, role=role, headers=headers or {}, json=body)

    async def patch(self, path: str, body: object, *, role: str, headers: Mapping[str, str] | None = None) -> Reply:
        return await self.send("PATCH", path, role=role, headers=headers or {}, json=body)

    async def send(self, method: str, path: str, *, role: str | None, headers: Mapping[str, str], **rest: Any) -> Reply:
        """Any request, also one that the platform must refuse. Without a role it carries no token of ours."""
        authorization = {} if role is None else {"Authorization": f"Bearer {self.token(role)}"}
        url = self.stack.addresses.service_url("gateway") + path
        async with self._session.request(method, url, headers={**authorization, **headers}, **rest) as answer:
            text = await answer.read()
            is_json = "json" in answer.headers.get("Content-Type", "")
            return Reply(
                answer.status, await answer.json(content_type=None) if is_json and text else text, answer.headers
            )

    def token(self, role: str) -> str:
        if role not in self._tokens:
            self._tokens[role] = self.stack.token(role, subject=self._subject)
        return self._tokens[role]

    async def customer(self, *, after: str = "", **identifier: str) -> Any:
        """The single customer view of whoever has that identifier."""
        return (await self.get("/api/customers", after=after, **identifier)).expect(200).body

    async def kpis(self, after: str = "") -> Any:
        return (await self.get("/api/kpis", after=after)).expect(200).body


async def eventually(
    condition: Callable[[], Awaitable[bool]], what: str, *, within: float = 60.0, every: float = 0.1
) -> None:
    """Wait until the condition holds. The one way in which tests wait for what has no position to wait for."""
    deadline = time.monotonic() + within
    while not await condition():
        assert time.monotonic() < deadline, f"not within {within:.0f} s: {what}"
        await asyncio.sleep(every)
