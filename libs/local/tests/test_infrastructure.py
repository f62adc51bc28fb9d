"""The real parts, started once: what they promise, and what a crash of one or of the supervisor leaves."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError, UnknownTopicOrPartitionError
from pymongo import AsyncMongoClient

from crm_local.errors import LocalStackError
from crm_local.mongodb import NEVER_SLOW_MS
from crm_local.plan import INFRASTRUCTURE
from crm_local.process import ProcessIdentity
from crm_local.stack import Stack

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack.temporary(only=["infrastructure"]) as running:
        yield running


async def declare(stack: Stack, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.addresses.kafka_bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def produce(stack: Stack, topic: str, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=stack.addresses.kafka_bootstrap, enable_idempotence=True) as producer:
        await producer.send_and_wait(topic, value)


async def consume(stack: Stack, topic: str, count: int) -> list[bytes]:
    async with AIOKafkaConsumer(
        topic, bootstrap_servers=stack.addresses.kafka_bootstrap, auto_offset_reset="earliest"
    ) as consumer:
        return [(await consumer.getone()).value for _ in range(count)]


def ask(uri: str, question: str) -> Any:
    with psycopg.connect(uri) as connection:
        row = connection.execute(question.encode()).fetchone()
        assert row is not None
        return row[0]


async def test_kafka_takes_and_gives_records(stack: Stack) -> None:
    await declare(stack, "greetings")
    await produce(stack, "greetings", b"hello")
    assert await consume(stack, "greetings", 1) == [b"hello"]


async def test_kafka_does_not_make_topics_by_itself(stack: Stack) -> None:
    with pytest.raises((UnknownTopicOrPartitionError, KafkaConnectionError, TimeoutError)):
        await _produce_impatiently(stack, "never-declared")


async def test_mongodb_takes_nothing_for_slow_for_it_would_log_the_values(stack: Stack) -> None:
    async with AsyncMongoClient[dict[str, Any]](stack.addresses.mongodb_uri) as client:
        assert (await client.trial.command("profile", -1))["slowms"] == NEVER_SLOW_MS


async def test_mongodb_has_transactions(stack: Stack) -> None:
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(stack.addresses.mongodb_uri)
    try:
        async with client.start_session() as session, await session.start_transaction():
            await client.trial.one.insert_one({"_id": 1}, session=session)
            await client.trial.two.insert_one({"_id": 1}, session=session)
        async with client.start_session() as session:
            await session.start_transaction()
            await client.trial.one.insert_one({"_id": 2}, session=session)
            await session.abort_transaction()
        assert await client.trial.one.count_documents({}) == 1
        assert await client.trial.two.count_documents({}) == 1
    finally:
        await client.close()


def test_each_service_has_a_database_of_its_own_behind_a_password(stack: Stack) -> None:
    sales = stack.addresses.postgres_uri("sales")
    assert ask(sales, "SELECT current_database() || '/' || current_user") == "crm_sales/crm_sales"
    with pytest.raises(psycopg.OperationalError, match="password"):
        ask(sales.replace("crm_sales:", "crm_sales:wrong"), "SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        ask(sales.removesuffix("crm_sales") + "crm_contacts", "SELECT 1")


def test_no_password_is_in_a_log(stack: Stack) -> None:
    logs = "".join(stack.log(part) for part in INFRASTRUCTURE)
    # A list of further keys is empty until there are any.
    secrets = [text for file in stack.folder.secrets.iterdir() if (text := file.read_text().strip())]
    assert not [secret for secret in secrets if secret in logs]


def test_a_second_start_of_a_running_stack_is_refused(stack: Stack) -> None:
    before = stack.pid("kafka")
    with pytest.raises(LocalStackError, match="running already"):
        Stack(stack.folder.root, only=["infrastructure"]).start()
    assert stack.pid("kafka") == before


@pytest.mark.parametrize("part", INFRASTRUCTURE)
def test_a_killed_part_comes_back_at_its_address(stack: Stack, part: str) -> None:
    killed, address = stack.pid(part), stack.record(part).address
    stack.kill(part)
    stack.wait_until_ready(part)
    assert stack.pid(part) != killed
    assert stack.record(part).address == address


async def test_what_was_written_survives_kills_of_parts_and_supervisor(stack: Stack) -> None:
    await declare(stack, "kept")
    await produce(stack, "kept", b"before")
    with psycopg.connect(stack.addresses.postgres_uri("sales")) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 'before' AS word")
    stack.kill("kafka")
    stack.kill("postgres")
    stack.wait_until_ready("kafka")
    stack.wait_until_ready("postgres")
    ports = dict(stack.addresses.ports)
    left = [ProcessIdentity.of(stack.pid(part)) for part in INFRASTRUCTURE]
    stack.kill_supervisor()
    stack.stop()
    assert not any(process.find() for process in left)
    stack.start()
    assert stack.addresses.ports == ports
    await produce(stack, "kept", b"after")
    assert await consume(stack, "kept", 2) == [b"before", b"after"]
    assert ask(stack.addresses.postgres_uri("sales"), "SELECT word FROM kept") == "before"


def test_a_held_part_is_down_until_it_is_released(stack: Stack) -> None:
    stack.hold("mongodb")
    with pytest.raises(LocalStackError, match="does not run"):
        stack.pid("mongodb")
    stack.release("mongodb")
    assert stack.pid("mongodb")


async def _produce_impatiently(stack: Stack, topic: str) -> None:
    async with AIOKafkaProducer(
        bootstrap_servers=stack.addresses.kafka_bootstrap, request_timeout_ms=2_000
    ) as producer:
        await producer.send_and_wait(topic, b"lost")
