"""A gateway over real HTTP, with tokens of its own, before real small services."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
import pytest_asyncio
import uvicorn
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import APIRouter, FastAPI
from jwt.algorithms import OKPAlgorithm
from pydantic import SecretBytes, SecretStr
from starlette.middleware import Middleware
from yarl import URL

from crm_platform.health import Health
from crm_platform.http.app import create_app
from crm_platform.settings import ServiceSettings

ISSUER, AUDIENCE = "https://issuer.test", "crm"


@dataclass
class SmallService:
    """A service with one answer, which remembers what it was asked."""

    answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
    url: str = ""
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append((request.method, request.raw_path, headers, await request.read()))
        return await self.answer(request)


@asynccontextmanager
async def running_service(
    answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
) -> AsyncIterator[SmallService]:
    service = SmallService(answer)
    runner = web.ServerRunner(web.Server(service.handle), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    service.url = f"http://{host}:{port}"
    try:
        yield service
    finally:
        await runner.cleanup()


@dataclass
class Answer:
    status: int
    headers: Any
    body: Any


@dataclass
class Door:
    """The gateway as a client with a token sees it."""

    app: FastAPI
    url: str
    token: str
    client: aiohttp.ClientSession
    issue: Callable[..., str]
    """Makes a token for a subject with these roles."""

    async def ask(self, method: str, path: str, **options: Any) -> Answer:
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        async with self.client.request(
            method, URL(self.url + path, encoded=True), headers=headers, **options
        ) as answer:
            body = await answer.read()
            return Answer(answer.status, answer.headers, json.loads(body) if "json" in answer.content_type else body)


OpenDoor = Callable[..., Awaitable[Door]]


@pytest.fixture
def services() -> Callable[..., Any]:
    """What starts a small service, for an `async with`, from the one answer that it gives."""
    return running_service


@pytest_asyncio.fixture
async def open_door(tmp_path: Path) -> AsyncIterator[OpenDoor]:
    """Serves routes, behind a middleware, as the gateway does, on a free port, until the test ends."""
    key = Ed25519PrivateKey.generate()
    jwks = tmp_path / "jwks.json"
    jwks.write_text(json.dumps({"keys": [{**OKPAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "test"}]}))

    def issue(subject: str, *roles: str) -> str:
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "iat": now, "exp": now + 600, "roles": roles}
        return jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": "test", "typ": "at+jwt"})

    settings = ServiceSettings(
        kafka_bootstrap="127.0.0.1:1",
        mongodb_uri=SecretStr("mongodb://127.0.0.1:1/"),
        auth_jwks=str(jwks),
        auth_issuer=ISSUER,
        auth_audience=AUDIENCE,
        installation_key=SecretBytes(bytes(32)),
        cursor_key=SecretBytes(bytes(32)),
    )
    servers: list[tuple[uvicorn.Server, asyncio.Task[None]]] = []

    async with aiohttp.ClientSession() as client:

        async def open_door(*routers: APIRouter, middleware: Sequence[Middleware] = ()) -> Door:
            app = create_app("gateway", settings, routers, Health(), middleware=middleware)
            started = asyncio.Event()
            server = _Announcing(app, started)
            servers.append((server, asyncio.create_task(server.serve())))
            async with asyncio.timeout(20):
                await started.wait()
            port = server.servers[0].sockets[0].getsockname()[1]
            return Door(app, f"http://127.0.0.1:{port}", issue("ann", "sales", "adapter"), client, issue)

        yield open_door
    for server, serving in servers:
        server.should_exit = True
        await serving


class _Announcing(uvicorn.Server):
    """Says when it answers."""

    def __init__(self, app: FastAPI, started: asyncio.Event) -> None:
        super().__init__(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False))
        self._announced = started

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self._announced.set()
