"""The customer view of a running stack, seen from outside: over HTTP, and by what its store says has changed."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp

from benchmarks.site import Site
from crm_gateway.projections.customers import Customers
from crm_platform import mongo
from crm_platform.generations import Generation
from crm_platform.projection import Document

_ARRIVES_WITHIN = 180.0
_POLL = 0.02
_ANSWERS_WITHIN = aiohttp.ClientTimeout(total=30)


class Change(NamedTuple):
    """A record of the view, by its kind's collection and its id, at a version."""

    collection: str
    id: str
    version: int


class Seen:
    """When records of the view came to their versions. A batch may take a record several versions on in one step."""

    def __init__(self) -> None:
        self._steps: dict[tuple[str, str], list[tuple[int, float]]] = {}

    def add(self, change: Change, at: float) -> None:
        self._steps.setdefault((change.collection, change.id), []).append((change.version, at))

    def at(self, change: Change) -> float | None:
        """When the record showed this version, or a later one; None while it does not."""
        steps = self._steps.get((change.collection, change.id), ())
        return min((at for version, at in steps if version >= change.version), default=None)


class GatewayView:
    """Requests to the gateway in the name of an administrator, and its records in MongoDB."""

    def __init__(self, site: Site, session: aiohttp.ClientSession, database: mongo.Database) -> None:
        self._url = site.addresses.service_url("gateway")
        self._session = session
        self._database = database

    @classmethod
    @asynccontextmanager
    async def open(cls, site: Site) -> "AsyncIterator[GatewayView]":
        client = mongo.connect(site.addresses.mongodb_uri)
        authorization = {"Authorization": f"Bearer {site.stack.token('admin', ttl=7200)}"}
        # More connections than are ever busy: the commands of an open loop do not wait for each other.
        connector = aiohttp.TCPConnector(limit=500)
        try:
            async with aiohttp.ClientSession(
                headers=authorization, timeout=_ANSWERS_WITHIN, connector=connector
            ) as session:
                yield cls(site, session, mongo.database(client, "crm_gateway"))
        finally:
            client.close()

    async def post(self, path: str, body: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        """Send a command; its answer, and the positions to wait for. Raises RuntimeError if it is refused."""
        async with self._session.post(self._url + path, json=body) as answer:
            content = await answer.json()
            if answer.status not in (200, 201):
                raise RuntimeError(f"POST {path} answered {answer.status}: {content}")
            return content, answer.headers.get("CRM-Position", "")

    async def get(self, path: str, *, after: str = "", **parameters: str) -> dict[str, Any]:
        """Raises RuntimeError for any answer but 200."""
        headers = {"CRM-After": after} if after else {}
        async with self._session.get(self._url + path, params=parameters, headers=headers) as answer:
            content: dict[str, Any] = await answer.json()
            if answer.status != 200:
                raise RuntimeError(f"GET {path} answered {answer.status}: {content}")
            return content

    def records(self, document: type[Document]) -> mongo.Collection:
        """Where the view keeps its records of one kind."""
        return self._database[Generation(Customers()).collection_name(document)]

    @asynccontextmanager
    async def changes(self, kinds: Sequence[type[Document]]) -> AsyncIterator[Seen]:
        """When each change of such records was committed and seen, by the clock of this process; it goes on filling."""
        names = {Generation(Customers()).collection_name(kind): kind.collection for kind in kinds}
        seen = Seen()
        async with self._database.watch([{"$match": {"ns.coll": {"$in": list(names)}}}]) as stream:
            # The stream is open on the server once it has been asked for what is next.
            await stream.try_next()

            async def follow() -> None:
                async for event in stream:
                    row, now = event["fullDocument"], time.perf_counter()
                    seen.add(Change(names[event["ns"]["coll"]], row["_id"], row["version"]), now)

            following = asyncio.create_task(follow())
            try:
                yield seen
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)

    async def count(self, document: type[Document]) -> int:
        return await self.records(document).estimated_document_count()

    async def until_count(self, document: type[Document], wanted: int) -> None:
        """Wait until there are that many records; raises TimeoutError."""
        async with asyncio.timeout(_ARRIVES_WITHIN):
            while await self.count(document) < wanted:
                await asyncio.sleep(_POLL)


async def until_still(view: GatewayView, document: type[Document]) -> int:
    """How many records of that kind the view has, once there have been no more for a second."""
    before = -1
    while (now := await view.count(document)) != before:
        before = now
        await asyncio.sleep(1)
    return now
