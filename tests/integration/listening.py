"""A subscriber: pages, and server-sent events read as the standard says."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import orjson
from door import Door

STREAM = "/api/events/stream"
READ_BUFFER = 512 * 1024
"""A line is as long as its event; so much is read ahead, and no more."""
Asked = list[tuple[str, str]]


class Heard(NamedTuple):
    """One event of a stream. `id` goes on behind it."""

    id: str
    type_name: str
    event: dict[str, Any]


class Listening:
    """An open stream. `retry` is when the server last said to come back, in milliseconds; `beats` counts comments."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer
        self.retry = 0
        self.beats = 0

    async def events(self) -> AsyncIterator[Heard]:
        """Until the stream ends."""
        fields: dict[str, str] = {}
        while line := await self.answer.content.readline():
            name, _, value = line.decode().removesuffix("\n").partition(":")
            if line == b"\n" and "data" in fields:
                yield Heard(fields["id"], fields["event"], orjson.loads(fields["data"]))
            if line == b"\n":
                fields = {}
            elif name == "retry":
                self.retry = int(value)
            elif name:
                fields[name] = value.removeprefix(" ")
            else:
                self.beats += 1

    async def next(self, count: int, within: float = 30.0) -> list[Heard]:
        """The next `count` events."""
        heard: list[Heard] = []
        async with asyncio.timeout(within):
            async for event in self.events():
                heard.append(event)
                if len(heard) == count:
                    break
        return heard


@asynccontextmanager
async def listening(
    crm: Door, asked: Asked | None = None, *, after: str = "", token: str = ""
) -> AsyncIterator[Listening]:
    """A stream in the name of an analyst, or of a token."""
    headers = {"Authorization": f"Bearer {token or crm.token('analyst')}"} | ({"Last-Event-ID": after} if after else {})
    url = crm.stack.addresses.service_url("gateway") + STREAM
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None), read_bufsize=READ_BUFFER) as session,
        session.get(url, params=asked or [], headers=headers) as answer,
    ):
        assert answer.status == 200, await answer.text()
        yield Listening(answer)


async def refused(crm: Door, asked: Mapping[str, str] | Asked, *, role: str | None = "analyst", **headers: str) -> Any:
    """The refusal of a page; the stream refuses the same."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    page = await crm.send("GET", "/api/events", role=role, headers=names, params=asked)
    stream = await crm.send("GET", STREAM, role=role, headers=names, params=asked)
    assert (page.status, page.body["type"], page.body["detail"]) == (
        stream.status,
        stream.body["type"],
        stream.body["detail"],
    )
    assert page.is_problem(page.status)
    return page


async def page(crm: Door, asked: Asked | None = None, **more: str) -> Any:
    params = [*(asked or []), *more.items()]
    return (await crm.send("GET", "/api/events", role="analyst", headers={}, params=params)).expect(200).body


async def pages(crm: Door, asked: Asked | None = None, *, after: str = "", limit: int = 200) -> list[dict[str, Any]]:
    """Every event up to now, read in pages."""
    cursor, found = after, list[dict[str, Any]]()
    while True:
        # A cursor knows where its reading began.
        filters = [(name, value) for name, value in asked or [] if not cursor or name not in ("from", "position")]
        answer = await page(crm, filters, limit=str(limit), **({"after": cursor} if cursor else {}))
        found += answer["items"]
        cursor = answer["next"]
        if not answer["more"]:
            return found
