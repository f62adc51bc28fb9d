"""What tidies up in its own time, done at once: vacuum, WAL, compaction, the deletion of files."""

from collections.abc import Mapping

import psycopg
from aiokafka import AIOKafkaProducer
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from libs.platform.tests.kafka_topics import administrator
from pymongo import AsyncMongoClient

from crm_events.topics import INTERACTIONS, KEYS, Topic
from crm_local.credentials import POSTGRES_SUPERUSER, installation, postgres_password
from crm_local.services import POSTGRES_ROLES
from crm_local.stack import Stack
from crm_platform import kafka
from crm_platform.key_records import key_record
from crm_platform.sealing import InstallationKey, SubjectKey
from crm_platform.topics import settings_of

SECOND = {"segment.ms": "1000"}
SOONER: Mapping[Topic, Mapping[str, str]] = {
    INTERACTIONS: SECOND,
    KEYS: {**SECOND, "max.compaction.lag.ms": "1000", "min.cleanable.dirty.ratio": "0"},
}


async def files_change_every_second(stack: Stack) -> None:
    """A file of these topics is closed by what is written a second later, and compacted or deleted then."""
    resources = [
        ConfigResource(ConfigResourceType.TOPIC, topic.name, {**settings_of(topic), **sooner})
        for topic, sooner in SOONER.items()
    ]
    async with administrator(stack.addresses.kafka_bootstrap) as admin:
        await admin.alter_configs(resources)


async def write_behind_keys(stack: Stack, producer: AIOKafkaProducer) -> None:
    """A key that nobody has, in each partition of crm.keys: Kafka compacts what stands before the last file."""
    wraps = installation(stack.folder)
    for partition in range(KEYS.partitions):
        record = _key_in(partition, wraps)
        await producer.send_and_wait(KEYS.name, record.value, record.key, partition)


def _key_in(partition: int, wraps: InstallationKey) -> kafka.Outgoing:
    while True:
        key = SubjectKey.generate()
        record = key_record(key.id, "nobody", wraps.wrap(key))
        if record.partition == partition:
            return record


async def on_disk(stack: Stack) -> None:
    """What the databases have in memory is written to their files."""
    await _in_every_database(stack, "ANALYZE", "CHECKPOINT")
    async with AsyncMongoClient[dict[str, object]](stack.addresses.mongodb_uri) as client:
        await client.admin.command("fsync")


async def vacuumed(stack: Stack) -> None:
    """Tables are written anew, and the WAL from before is gone."""
    await _in_every_database(stack, "VACUUM FULL", "CHECKPOINT")
    await _in_every_database(stack, "SELECT pg_switch_wal()", "CHECKPOINT")


async def _in_every_database(stack: Stack, *statements: str) -> None:
    for database in POSTGRES_ROLES:
        async with await psycopg.AsyncConnection.connect(superusers_uri(stack, database), autocommit=True) as session:
            for statement in statements:
                await session.execute(statement.encode())


def superusers_uri(stack: Stack, database: str) -> str:
    password = postgres_password(stack.folder, POSTGRES_SUPERUSER)
    return f"postgresql://{POSTGRES_SUPERUSER}:{password}@127.0.0.1:{stack.addresses.ports['postgres']}/{database}"


async def tables_files(stack: Stack, service: str, *tables: str) -> set[str]:
    """The files of these tables, by their paths in PostgreSQL's folder."""
    uri = superusers_uri(stack, f"crm_{service}")
    async with await psycopg.AsyncConnection.connect(uri) as session:
        found = await session.execute(
            "SELECT pg_relation_filepath(t::regclass) FROM unnest(%s::text[]) AS t", (list(tables),)
        )
        return {path for (path,) in await found.fetchall()}
