"""Where a benchmark takes place: a running stack, and what rows need of it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError
from psycopg.sql import SQL, Identifier

from benchmarks.children import server
from benchmarks.cpu import CpuClock
from crm_events.topics import Topic
from crm_local.credentials import POSTGRES_SUPERUSER, postgres_password
from crm_local.plan import INFRASTRUCTURE, Addresses
from crm_local.ports import free_ports
from crm_local.stack import Stack
from crm_platform import kafka, mongo
from crm_platform.settings import PREFIX
from crm_platform.topics import settings_of

PLATFORM = ("contacts", "sales", "service", "marketing", "analytics", "gateway")
"""Every service; the live stream of analytics is left out, as it is of the bulk topics."""


_POLL = 0.05


@dataclass(frozen=True, slots=True)
class Site:
    """A stack with Kafka, MongoDB and PostgreSQL, and whatever services it runs."""

    stack: Stack

    @property
    def addresses(self) -> Addresses:
        return self.stack.addresses

    @property
    def bootstrap(self) -> str:
        return self.addresses.kafka_bootstrap

    def scratch(self, name: str) -> Path:
        """A file that is removed with the stack."""
        return self.stack.folder.logs / name

    def cpu(self, *pids: int, parts: tuple[str, ...] = INFRASTRUCTURE) -> CpuClock:
        """A clock over these processes and the stack's own parts."""
        return CpuClock((*pids, *(self.stack.pid(part) for part in parts)))

    @asynccontextmanager
    async def mongo(self, database: str) -> AsyncIterator[mongo.Database]:
        """An empty database, dropped in the end."""
        client = mongo.connect(self.addresses.mongodb_uri)
        try:
            await client.drop_database(database)
            yield mongo.database(client, database)
            await client.drop_database(database)
        finally:
            client.close()

    @contextmanager
    def postgres(self, name: str) -> Iterator[str]:
        """An empty database, dropped in the end; yields its URI."""
        password = postgres_password(self.stack.folder, POSTGRES_SUPERUSER)
        root = f"postgresql://{POSTGRES_SUPERUSER}:{password}@127.0.0.1:{self.addresses.ports['postgres']}"
        with psycopg.connect(f"{root}/postgres", autocommit=True) as admin:
            admin.execute(SQL("CREATE DATABASE {} STRATEGY file_copy").format(Identifier(name)))
            yield f"{root}/{name}"
            admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))

    async def create_topic(self, topic: Topic) -> None:
        """A topic with the settings of the platform's own, once all its partitions have a leader."""
        async with self._administrator() as admin:
            await admin.create_topics([NewTopic(topic.name, topic.partitions, 1, topic_configs=settings_of(topic))])
        async with kafka.reader(self.bootstrap) as client:
            while not await _is_led(client, topic):
                await asyncio.sleep(_POLL)

    async def delete_topic(self, topic: Topic) -> None:
        async with self._administrator() as admin:
            await admin.delete_topics([topic.name])

    @asynccontextmanager
    async def _administrator(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()

    @asynccontextmanager
    async def server(self, name: str, *module: str) -> AsyncIterator[tuple[int, int]]:
        """A server of a benchmark with the settings of the sales service; yields its port and its process."""
        (port,) = free_ports(1)
        launch = self.addresses.part("sales").launch()
        environment = {**launch.environment, f"{PREFIX}PORT": str(port)}
        async with server(*module, port=port, log=self.scratch(f"{name}.log"), environment=environment) as pid:
            yield port, pid


async def _is_led(client: AIOKafkaConsumer, topic: Topic) -> bool:
    try:
        await kafka.end_offsets(client, topic.name, topic.partitions)
    except KafkaError:
        return False
    return True
