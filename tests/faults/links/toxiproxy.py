"""Toxiproxy, driven over its HTTP interface: TCP links that are slow, cut, or half open on purpose.

A toxic's `stream` is the direction it spoils: downstream is from the server to the client.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from crm_local.ports import free_ports

BINARY = Path(__file__).parents[3] / ".tools" / "bin" / "toxiproxy-server"
HOST = "127.0.0.1"
STARTS_WITHIN = 10.0


class Toxic(NamedTuple):
    """What spoils a link, see toxiproxy's README: `latency`, `bandwidth`, `slicer`, `timeout` and so on."""

    kind: str
    stream: str
    attributes: dict[str, int]

    @property
    def name(self) -> str:
        return f"{self.kind}_{self.stream}"


class Link:
    """One proxied TCP link. `port` is where its client connects."""

    def __init__(self, session: aiohttp.ClientSession, name: str, port: int) -> None:
        self._session = session
        self._path = f"/proxies/{name}"
        self.port = port

    async def add(self, *toxics: Toxic) -> None:
        """Spoil the connections that there are, and those to come."""
        for toxic in toxics:
            body = {"name": toxic.name, "type": toxic.kind, "stream": toxic.stream, "attributes": toxic.attributes}
            await self._ask("POST", f"{self._path}/toxics", body)

    async def remove(self, *toxics: Toxic) -> None:
        for toxic in toxics:
            await self._ask("DELETE", f"{self._path}/toxics/{toxic.name}")

    @asynccontextmanager
    async def spoilt(self, *toxics: Toxic) -> AsyncIterator[None]:
        await self.add(*toxics)
        try:
            yield
        finally:
            await self.remove(*toxics)

    @asynccontextmanager
    async def cut(self) -> AsyncIterator[None]:
        """Its connections are ended and new ones refused."""
        await self._ask("POST", self._path, {"enabled": False})
        try:
            yield
        finally:
            await self._ask("POST", self._path, {"enabled": True})

    async def _ask(self, method: str, path: str, body: Any = None) -> None:
        async with self._session.request(method, path, json=body) as answer:
            if answer.status >= 400:
                raise RuntimeError(f"toxiproxy refuses {method} {path}: {answer.status} {await answer.text()}")


class Toxiproxy:
    """A running server."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    @classmethod
    @asynccontextmanager
    async def running(cls) -> AsyncIterator["Toxiproxy"]:
        (port,) = free_ports(1)
        process = await asyncio.create_subprocess_exec(
            BINARY,
            f"-host={HOST}",
            f"-port={port}",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with aiohttp.ClientSession(f"http://{HOST}:{port}") as session:
                await _until_it_answers(session)
                yield cls(session)
        finally:
            process.kill()
            await process.wait()

    async def link(self, name: str, port: int, upstream_port: int) -> Link:
        """A link from `port` to a server on this machine."""
        proxy = {"name": name, "listen": f"{HOST}:{port}", "upstream": f"{HOST}:{upstream_port}", "enabled": True}
        async with self._session.post("/proxies", json=proxy) as answer:
            if answer.status != 201:
                raise RuntimeError(f"toxiproxy makes no link {name}: {answer.status} {await answer.text()}")
        return Link(self._session, name, port)

    async def mend(self) -> None:
        """No link is spoilt or cut any more."""
        async with self._session.post("/reset") as answer:
            answer.raise_for_status()


async def _until_it_answers(session: aiohttp.ClientSession) -> None:
    async with asyncio.timeout(STARTS_WITHIN):
        while True:
            try:
                async with session.get("/version") as answer:
                    answer.raise_for_status()
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)
