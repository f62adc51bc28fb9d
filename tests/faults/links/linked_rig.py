"""The suite's rig over spoilt links, and what its clients see: how long each attempt took, and how it ended."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
from door import Door, Reply
from tests.faults.links.linked_stack import LinkedStack, Links
from tests.faults.links.toxiproxy import Toxiproxy
from tests.faults.reality import Reality
from tests.faults.rig import Rig

LEADS = "/api/leads"

Measured = Callable[[str], None]
"""Keeps what a row has measured, for its report."""


class Attempt(NamedTuple):
    """One request: when it was sent, how many seconds its answer took, and the answer's status; 0 for none."""

    at: float
    path: str
    seconds: float
    status: int


class WatchedDoor(Door):
    """The platform's door, with a record of every attempt."""

    def __init__(self, stack: LinkedStack, session: aiohttp.ClientSession) -> None:
        super().__init__(stack, session)
        self.attempts: list[Attempt] = []

    async def send(self, method: str, path: str, *, role: str | None, headers: Mapping[str, str], **rest: Any) -> Reply:
        began, status = time.monotonic(), 0
        try:
            reply = await super().send(method, path, role=role, headers=headers, **rest)
            status = reply.status
        finally:
            self.attempts.append(Attempt(began, path, time.monotonic() - began, status))
        return reply

    def commands_to_sales(self, since: float) -> "Answers":
        return Answers([a for a in self.attempts if a.at >= since and a.path.startswith(LEADS)])


class Answers:
    """What became of a number of attempts."""

    def __init__(self, attempts: list[Attempt]) -> None:
        assert attempts, "nothing was asked"
        self._seconds = sorted(attempt.seconds for attempt in attempts)
        self.statuses = Counter(attempt.status for attempt in attempts)

    @property
    def p99(self) -> float:
        return self._seconds[int(len(self._seconds) * 0.99)]

    @property
    def taken(self) -> int:
        return self.statuses[200] + self.statuses[201]

    def __str__(self) -> str:
        median = self._seconds[len(self._seconds) // 2]
        return f"p50 {median:.2f} s, p99 {self.p99:.2f} s, {dict(self.statuses)}"


class LinkedRig(Rig):
    """The whole platform, with sales on links of its own."""

    stack: LinkedStack
    door: WatchedDoor
    links: Links
    toxiproxy: Toxiproxy

    @classmethod
    @asynccontextmanager
    async def on_links(cls, session: aiohttp.ClientSession, seed: int) -> AsyncIterator["LinkedRig"]:
        with LinkedStack.temporary() as stack:
            async with (
                Toxiproxy.running() as toxiproxy,
                stack.linked(toxiproxy) as links,
                Reality.open(stack) as reality,
            ):
                rig = cls(stack, session, reality, seed)
                rig.door, rig.links, rig.toxiproxy = WatchedDoor(stack, session), links, toxiproxy
                yield rig

    def logged(self, part: str, *words: str) -> int:
        """How many lines of a part's log hold one of these."""
        return sum(any(word in line for word in words) for line in self.stack.log(part).splitlines())


async def all_of(count: int, one: Callable[[int], Awaitable[None]]) -> None:
    """What many do at once."""
    await asyncio.gather(*(one(number) for number in range(count)))
