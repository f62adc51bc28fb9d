"""The whole platform, with sales and its way to the gateway on links that a test spoils.

sales reaches PostgreSQL, MongoDB and Kafka over a link each, and the gateway reaches sales over a fourth one; nobody
else's connections pass there. The supervised broker, sales and gateway are held, and run as processes of this one.
"""

import asyncio
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from psycopg.conninfo import conninfo_to_dict
from tests.faults.links.toxiproxy import HOST, Link, Toxiproxy

from crm_local.errors import LocalStackError, NotReadyError
from crm_local.kafka import Kafka
from crm_local.part import Part
from crm_local.plan import KAFKA_CONTROLLER
from crm_local.ports import free_ports
from crm_local.process import spawn, stop
from crm_local.services import EVENT_STORING, Service, Surroundings
from crm_local.stack import Stack

LINKED = "LINKED"
"""The broker's listener at the end of the link; it is advertised where the link begins."""


@dataclass(frozen=True)
class Links:
    postgres: Link
    mongodb: Link
    kafka: Link
    sales: Link


class LinkedKafka(Kafka):
    """The same broker with one listener more: a client is sent to the address that a listener advertises."""

    def listen_too(self, port: int, advertised: int) -> None:
        self._linked = port, advertised

    def _properties(self) -> dict[str, str | int]:
        properties = super()._properties()
        port, advertised = self._linked
        return {
            **properties,
            "listeners": f"{properties['listeners']},{LINKED}://{HOST}:{port}",
            "advertised.listeners": f"{properties['advertised.listeners']},{LINKED}://{HOST}:{advertised}",
            "listener.security.protocol.map": f"{properties['listener.security.protocol.map']},{LINKED}:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
        }


class LinkedStack(Stack):
    """A stack some of whose parts run as children of this process, while their supervised selves are held."""

    _own: dict[str, Process]

    def pid(self, part: str) -> int:
        own = self._own.get(part)
        return super().pid(part) if own is None else own.pid

    def log(self, part: str) -> str:
        return self._log(part).read_text(errors="replace") if part in self._own else super().log(part)

    @asynccontextmanager
    async def linked(self, toxiproxy: Toxiproxy) -> AsyncIterator[Links]:
        """Everything is ready, over links that spoil nothing yet."""
        self._own = {}
        for name in ("gateway", "sales", "kafka"):
            await asyncio.to_thread(self.hold, name)
        ports = self.addresses.ports
        at_broker, *starts = free_ports(5)
        links = Links(
            postgres=await toxiproxy.link("postgres", starts[0], ports["postgres"]),
            mongodb=await toxiproxy.link("mongodb", starts[1], ports["mongodb"]),
            kafka=await toxiproxy.link("kafka", starts[2], at_broker),
            sales=await toxiproxy.link("sales", starts[3], ports["sales"]),
        )
        async with AsyncExitStack() as running:
            for part in (self._kafka(at_broker, links.kafka.port), self._sales(links), self._gateway(links)):
                await running.enter_async_context(self._running(part))
            yield links

    def _kafka(self, port: int, advertised: int) -> Part:
        ports = self.addresses.ports
        kafka = LinkedKafka(self.folder, ports["kafka"], ports[KAFKA_CONTROLLER])
        kafka.listen_too(port, advertised)
        return kafka

    def _sales(self, links: Links) -> Part:
        uri = self.addresses.postgres_uri("sales")
        linked = replace(
            self._surroundings(),
            kafka_bootstrap=f"{HOST}:{links.kafka.port}",
            # Not by the replica set's name: the driver would go to the address that the member calls its own.
            mongodb_uri=f"mongodb://{HOST}:{links.mongodb.port}/?directConnection=true",
            postgres_uris={"sales": _over(uri, links.postgres.port)},
        )
        return Service("sales", linked)

    def _gateway(self, links: Links) -> Part:
        surroundings = self._surroundings()
        return Service("gateway", replace(surroundings, ports={**surroundings.ports, "sales": links.sales.port}))

    def _surroundings(self) -> Surroundings:
        addresses = self.addresses
        uris: Mapping[str, str] = {name: addresses.postgres_uri(name) for name in EVENT_STORING}
        return Surroundings(self.folder, addresses.kafka_bootstrap, addresses.mongodb_uri, uris, addresses.ports)

    @asynccontextmanager
    async def _running(self, part: Part) -> AsyncIterator[None]:
        await part.prepare(lambda _: None)
        launch = part.launch()
        process = self._own[part.name] = await spawn(launch, self._log(part.name))
        try:
            await _until_ready(part, process)
            yield
        finally:
            del self._own[part.name]
            if psutil.pid_exists(process.pid):
                await stop(process, launch)

    def _log(self, part: str) -> Path:
        return self.folder.logs / f"{part}.linked.log"


def _over(uri: str, port: int) -> str:
    parts = {**conninfo_to_dict(uri), "port": port}
    user, password, name = parts["user"], parts["password"], parts["dbname"]
    return f"postgresql://{user}:{password}@{HOST}:{port}/{name}"


async def _until_ready(part: Part, process: Process) -> None:
    async with asyncio.timeout(part.ready_within):
        while True:
            try:
                await part.check_ready()
            except NotReadyError:
                if process.returncode is not None:
                    raise LocalStackError(f"{part.name} ended with {process.returncode} before it was ready") from None
                await asyncio.sleep(0.1)
            else:
                return
