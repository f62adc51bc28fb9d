"""A real service process sends its spans to a real receiver; one that was told none loads nothing for it."""

import asyncio
import json
import os
import signal
import sys
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from libs.platform.tests.http.conftest import Issuer
from libs.platform.tests.waiting import eventually, running
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from crm_local.plan import Addresses
from crm_local.ports import free_ports
from crm_platform import mongo
from crm_platform.keyring import Keyring, KeyringFiller
from crm_platform.sealing import InstallationKey
from crm_platform.wakeup import Wakeup

LOADED = """
import sys
import crm_analytics.main, crm_contacts.main, crm_gateway.main, crm_marketing.main, crm_sales.main, crm_service.main
from crm_platform.settings import ServiceSettings
from crm_platform.tracing import configure_tracing, is_on
configure_tracing("sales", "1", ServiceSettings())
print(is_on(), [name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))])
"""
EMAIL = "ada@example.com"
CONTEXT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@dataclass
class Receiver:
    """An OTLP receiver: what it was sent, and how it answers."""

    url: str = ""
    status: int = 200
    requests: list[ExportTraceServiceRequest] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        self.requests.append(ExportTraceServiceRequest.FromString(await request.read()))
        return web.Response(status=self.status)

    def spans(self) -> dict[str, str]:
        """The ids of the spans by their names."""
        return {
            span.name: span.span_id.hex()
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        }

    def resources(self) -> set[tuple[str, str]]:
        return {
            (attribute.key, attribute.value.string_value)
            for request in self.requests
            for resource in request.resource_spans
            for attribute in resource.resource.attributes
        }


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/v1/traces", receiver.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield receiver
    await runner.cleanup()


@dataclass
class SalesProcess:
    """`python -m crm_sales api`, told to trace."""

    environment: dict[str, str]
    token: str

    def __post_init__(self) -> None:
        self.url = f"http://127.0.0.1:{self.environment['CRM_PORT']}"

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "crm_sales", "api", env=self.environment, stdout=asyncio.subprocess.PIPE
        )
        try:
            await eventually(self._ready, within=60)
        except TimeoutError:
            self.process.kill()
            raise

    async def _ready(self) -> bool:
        try:
            async with aiohttp.ClientSession() as client, client.get(self.url + "/readyz") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def capture_lead(self) -> int:
        lead = {"party": {"email": EMAIL}, "source": "web"}
        headers = {"Authorization": f"Bearer {self.token}", "traceparent": CONTEXT}
        async with (
            aiohttp.ClientSession(headers=headers) as client,
            client.post(self.url + "/leads", json=lead) as answer,
        ):
            return answer.status

    async def stop(self) -> int | None:
        """End it in good order; what it has logged is known then."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            said, _ = await self.process.communicate()
        self.lines: list[dict[str, Any]] = [json.loads(line) for line in said.splitlines()]
        return self.process.returncode


@pytest_asyncio.fixture
async def sales(
    environment: dict[str, str],
    addresses: Addresses,
    bootstrap: str,
    postgres_uri: str,
    receiver: Receiver,
    issuer: Issuer,
) -> AsyncIterator[SalesProcess]:
    told = {
        "CRM_KAFKA_BOOTSTRAP": bootstrap,
        "CRM_MONGODB_URI": addresses.mongodb_uri,
        "CRM_MONGODB_DATABASE": "t_traced_sales",
        "CRM_POSTGRES_URI": postgres_uri,
        "CRM_PORT": str(*free_ports(1)),
        "CRM_OTLP_ENDPOINT": receiver.url,
    }
    process = SalesProcess({**os.environ, **environment, **told}, issuer.token())
    async with _keys_are_read(addresses, bootstrap, told["CRM_MONGODB_DATABASE"], environment):
        await process.start()
        yield process
        if process.process.returncode is None:
            process.process.kill()
            await process.process.wait()


@asynccontextmanager
async def _keys_are_read(
    addresses: Addresses, bootstrap: str, name: str, environment: dict[str, str]
) -> AsyncIterator[None]:
    """What the service's worker does, without which no process of it becomes ready."""
    client = mongo.connect(addresses.mongodb_uri)
    database = mongo.database(client, name)
    installation = InstallationKey(b64decode(environment["CRM_INSTALLATION_KEY"]))
    applied = Wakeup()
    keyring = Keyring(database, installation, bootstrap, "sales.keyring", applied)
    async with running(KeyringFiller("sales.keyring", database, keyring, bootstrap, "0", applied).run):
        yield
    client.close()


@pytest.mark.integration
async def test_a_service_sends_its_spans_before_it_ends(sales: SalesProcess, receiver: Receiver) -> None:
    assert await sales.capture_lead() == 201
    assert await sales.stop() == 0
    assert receiver.spans().keys() == {"POST /leads", "command capture_lead", "wait for the writer", "commit"}
    assert {("service.name", "sales"), ("service.namespace", "crm")} <= receiver.resources()
    assert EMAIL not in str(receiver.requests)
    (line,) = [line for line in sales.lines if line.get("route") == "/leads"]
    assert (line["trace_id"], line["span_id"]) == (CONTEXT[3:35], receiver.spans()["POST /leads"])


@pytest.mark.integration
async def test_a_receiver_that_fails_costs_no_request_and_no_orderly_end(
    sales: SalesProcess, receiver: Receiver
) -> None:
    receiver.status = 503
    assert await sales.capture_lead() == 201
    assert await sales.stop() == 0


async def test_told_no_receiver_a_process_loads_nothing_for_it(environment: dict[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LOADED, env={**os.environ, **environment}, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert (process.returncode, said.decode().split(maxsplit=1)) == (0, ["False", "[]\n"])
