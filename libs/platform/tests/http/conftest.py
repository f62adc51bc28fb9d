"""An application over real HTTP, with keys and tokens of its own."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import aiohttp
import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from fastapi import APIRouter, Depends, Request, Response
from jwt.algorithms import OKPAlgorithm, RSAAlgorithm
from pydantic import EmailStr

from crm_events import REGISTRY
from crm_events.event import Instant, written
from crm_events.parties import LongText, ShortText
from crm_platform import mongo
from crm_platform.aggregate import Aggregate
from crm_platform.auth import Actor, Role, authenticated, require
from crm_platform.command import Command
from crm_platform.errors import Refusal, Unavailable
from crm_platform.event_store.application import EventStore
from crm_platform.health import Condition, Health
from crm_platform.http.app import create_app
from crm_platform.http.commands import CommandSender, Written, command_sender
from crm_platform.http.etags import etag, not_modified
from crm_platform.http.middleware import accepts_bodies_up_to
from crm_platform.http.paging import Page, Paging
from crm_platform.http.reads import read_model
from crm_platform.logging import configure_logging
from crm_platform.projection import Projection
from crm_platform.read_model import ReadModel
from crm_platform.server import serve
from crm_platform.settings import ServiceSettings
from crm_platform.work import UnitOfWork

ISSUER, AUDIENCE = "https://issuer.test", "crm"


@dataclass
class Issuer:
    """A token issuer with one key of each kind that is allowed here."""

    rsa_key: rsa.RSAPrivateKey
    ed_key: ed25519.Ed25519PrivateKey

    def jwks(self) -> dict[str, Any]:
        rsa_jwk = RSAAlgorithm.to_jwk(self.rsa_key.public_key(), as_dict=True)
        ed_jwk = OKPAlgorithm.to_jwk(self.ed_key.public_key(), as_dict=True)
        return {"keys": [{**rsa_jwk, "kid": "rsa", "alg": "RS256", "use": "sig"}, {**ed_jwk, "kid": "ed"}]}

    def claims(self, **changed: Any) -> dict[str, Any]:
        now = int(time.time())
        usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": "anna", "iat": now, "nbf": now, "exp": now + 600}
        claims = {**usual, "roles": ["sales"], **changed}
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, *, kid: str = "ed", typ: str = "at+jwt", **changed: Any) -> str:
        key, algorithm = (self.rsa_key, "RS256") if kid == "rsa" else (self.ed_key, "EdDSA")
        return jwt.encode(self.claims(**changed), key, algorithm=algorithm, headers={"kid": kid, "typ": typ})


@pytest.fixture(scope="session")
def issuer() -> Issuer:
    return Issuer(rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate())


@pytest.fixture(scope="session")
def jwks_file(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("issuer") / "jwks.json"
    file.write_text(json.dumps(issuer.jwks()))
    return file


KEY = "A" * 43 + "="
SETTINGS = {
    "CRM_KAFKA_BOOTSTRAP": "127.0.0.1:9092",
    "CRM_MONGODB_URI": "mongodb://127.0.0.1:27017/?replicaSet=rs0",
    "CRM_AUTH_ISSUER": ISSUER,
    "CRM_AUTH_AUDIENCE": AUDIENCE,
    "CRM_INSTALLATION_KEY": KEY,
    "CRM_CURSOR_KEY": KEY,
}


@pytest.fixture(scope="session")
def environment(jwks_file: Path) -> Iterator[dict[str, str]]:
    """Every required setting, as a service finds it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("CRM_")]:
            patch.delenv(name)
        variables = {**SETTINGS, "CRM_AUTH_JWKS": str(jwks_file)}
        for name, value in variables.items():
            patch.setenv(name, value)
        yield variables


class Register(Command):
    email: EmailStr
    score: int = 0
    name: ShortText | None = None
    note: LongText | None = None
    occurred_at: Instant | None = None


router = APIRouter()
refusals = {refusal.code: refusal for refusal in Refusal.__subclasses__()}


@router.post("/register/{id}")
async def register(id: UUID, command: Register) -> Register:  # noqa: A002, ARG001 - the path names it
    return command


@router.post("/batch")
@accepts_bodies_up_to(64 * 1024)
async def batch(command: dict[str, str]) -> int:
    return sum(len(value) for value in command.values())


@router.get("/refuse/{code}")
async def refuse(code: str) -> None:
    raise refusals[code]("It is so.")


@router.get("/away")
async def away() -> None:
    error = Unavailable("The store is away.")
    error.retry_after = 7
    raise error


@router.get("/fail")
async def fail() -> None:
    raise RuntimeError("secret-detail of anna@example.com")


@router.get("/silent/mongodb")
async def silent_mongodb() -> int:
    client = mongo.connect("mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=50")
    try:
        return await client["any"]["thing"].count_documents({})
    finally:
        client.close()


@router.get("/silent/postgresql")
async def silent_postgresql() -> int:
    store = await asyncio.to_thread(EventStore, "postgresql://any:any@127.0.0.1:1/any", REGISTRY)
    return store.store.max_notification_id() or 0


@router.get("/whoami")
async def whoami(actor: Annotated[Actor, Depends(authenticated)]) -> str:
    return actor.subject


@router.get("/service-only")
async def service_only(actor: Annotated[Actor, Depends(require(Role.SERVICE))]) -> str:
    return actor.subject


@router.post("/things", status_code=201)
async def make_thing(command: Register, send: Annotated[CommandSender, Depends(command_sender(Role.SALES))]) -> Written:
    return await send(_never_reached, command)


def _never_reached(_: Register, __: UnitOfWork) -> Aggregate:
    raise AssertionError("this site has no event store")


class Things(Projection):
    """A read model that this site is not connected to."""

    name, version, topics = "test.things", 1, ()


@router.get("/things")
async def things(things: Annotated[ReadModel, Depends(read_model(Things))]) -> int:
    return len(await things.freshness())


@router.get("/as-of")
async def as_of(at: Instant) -> str:
    return written(at)


@router.get("/versioned")
async def versioned(request: Request, response: Response) -> str:
    response.headers["ETag"] = etag(3)
    not_modified(request, etag(3))
    return "third"


@router.get("/numbers")
async def numbers(paging: Paging, kind: str = "") -> Page[str]:  # noqa: ARG001 - a filter binds the cursor
    start = int(paging.after[1]) + 1 if paging.after else 0
    found = [str(n) for n in range(start, min(start + paging.limit, 10))]
    return paging.page(found, (SOME_DAY, found[-1]) if start + paging.limit < 10 else None)


SOME_DAY = datetime(2026, 1, 2, tzinfo=UTC)


@dataclass
class Site:
    """The running application as a client sees it."""

    url: str
    client: aiohttp.ClientSession
    health: Health
    database: Condition
    openapi: Callable[[], dict[str, Any]]

    async def ask(self, method: str, path: str, **options: Any) -> tuple[aiohttp.ClientResponse, Any]:
        async with self.client.request(method, self.url + path, **options) as answer:
            body = await answer.read()
            return answer, json.loads(body) if "json" in answer.content_type and body else body


@pytest_asyncio.fixture(scope="session")
async def site(environment: dict[str, str]) -> AsyncIterator[Site]:  # noqa: ARG001 - set
    configure_logging("test", "0")
    health, database = Health(), Condition("database", ready=True)
    health.add(database)
    app = create_app("test", ServiceSettings(body_limit_bytes=8 * 1024), (router,), health)
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(app, "127.0.0.1", 0, health=health, on_ready=port.set_result))
    async with asyncio.timeout(20):
        await port
    async with aiohttp.ClientSession() as client:
        yield Site(f"http://127.0.0.1:{port.result()}", client, health, database, app.openapi)
    os.kill(os.getpid(), signal.SIGTERM)
    await serving
