"""Real Kafka, MongoDB and PostgreSQL for the tests marked `integration`, and for each test a database of its own."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import pytest_asyncio
import structlog
from libs.platform.tests.kafka_topics import create_topic
from libs.platform.tests.shop_store import Shop, open_shop
from libs.platform.tests.waiting import eventually
from psycopg.sql import SQL, Identifier
from structlog.testing import LogCapture

from crm_events.topics import Topic
from crm_local.containers import docker_available, infrastructure_in_containers
from crm_local.credentials import POSTGRES_SUPERUSER, postgres_password
from crm_local.folder import StateFolder
from crm_local.plan import Addresses
from crm_local.stack import Stack
from crm_platform import mongo
from crm_platform.key_pool import KafkaKeyPool
from crm_platform.sealing import InstallationKey
from crm_platform.topics import declare


@pytest.fixture(scope="session")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    """Of the infrastructure in the folder CRM_TEST_INFRASTRUCTURE, if that is set; else of one made for this run."""
    if lent := os.environ.get("CRM_TEST_INFRASTRUCTURE"):
        yield Addresses.of(StateFolder(Path(lent)))
    elif docker_available():
        folder = StateFolder(Path(tmp_path_factory.mktemp("infrastructure")))
        with infrastructure_in_containers(folder) as running:
            yield running
    else:
        with Stack.temporary(only=["infrastructure"]) as stack:
            yield stack.addresses


@pytest_asyncio.fixture(scope="session")
async def bootstrap(addresses: Addresses) -> str:
    await declare(addresses.kafka_bootstrap)
    return addresses.kafka_bootstrap


@pytest_asyncio.fixture(scope="session")
async def mongo_client(addresses: Addresses) -> AsyncIterator[mongo.Client]:
    client = mongo.connect(addresses.mongodb_uri)
    yield client
    client.close()


@pytest_asyncio.fixture
async def database(mongo_client: mongo.Client) -> AsyncIterator[mongo.Database]:
    name = f"t_{uuid4().hex}"
    yield mongo.database(mongo_client, name)
    await mongo_client.drop_database(name)


@pytest.fixture
def postgres_uri(addresses: Addresses) -> Iterator[str]:
    password = postgres_password(addresses.folder, POSTGRES_SUPERUSER)
    server = f"postgresql://{POSTGRES_SUPERUSER}:{password}@127.0.0.1:{addresses.ports['postgres']}"
    name = f"t_{uuid4().hex}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as admin:
        admin.execute(SQL("CREATE DATABASE {} STRATEGY file_copy").format(Identifier(name)))
        yield f"{server}/{name}"
        admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


@pytest_asyncio.fixture
async def topic(bootstrap: str) -> Topic:
    """A topic of the test's own."""
    topic = Topic(f"t.{uuid4().hex}", partitions=3)
    await create_topic(bootstrap, topic)
    return topic


@pytest.fixture(scope="session")
def installation() -> InstallationKey:
    return InstallationKey(b"i" * 32)


@pytest_asyncio.fixture(scope="session")
async def keys(bootstrap: str, installation: InstallationKey) -> AsyncIterator[KafkaKeyPool]:
    pool = KafkaKeyPool(bootstrap, installation, "shop")
    running = asyncio.create_task(pool.run())
    await eventually(lambda: pool.ready)
    yield pool
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest_asyncio.fixture
async def open_store(
    postgres_uri: str, topic: Topic, installation: InstallationKey, keys: KafkaKeyPool
) -> AsyncIterator[Callable[..., Any]]:
    """Opens the test's shop, as often as processes write to it, by default directly and with published keys."""
    async with AsyncExitStack() as opened:

        async def open_one(uri: str = postgres_uri, pool: KafkaKeyPool = keys) -> Shop:
            return await opened.enter_async_context(open_shop(uri, topic, installation, pool))

        yield open_one


@pytest_asyncio.fixture
async def shop(open_store: Callable[..., Any]) -> Shop:
    opened: Shop = await open_store()
    return opened


@pytest.fixture
def log_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType], list[Any]]:
    """What a module logs from now on."""

    def capture(module: ModuleType) -> list[Any]:
        heard = LogCapture()
        logger = structlog.wrap_logger(None, processors=[heard], wrapper_class=structlog.make_filtering_bound_logger(0))
        monkeypatch.setattr(module, "log", logger)
        return heard.entries

    return capture
