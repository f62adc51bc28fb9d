"""The machine and the versions that figures were measured on."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import psutil
import psycopg
from pymongo import AsyncMongoClient

from benchmarks.progress import say
from crm_local.kafka_jars import kafka_jars
from crm_local.plan import Addresses


async def describe(addresses: Addresses) -> dict[str, str]:
    """What is known of it, by name."""
    memory = psutil.virtual_memory().total / 2**30
    return {
        "Date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "CPU": f"{_cpu_model()}, {os.cpu_count()} cores, shared with Kafka, the databases and the clients",
        "Memory": f"{memory:.0f} GiB",
        "System": f"{platform.system()} {platform.release()} {platform.machine()}",
        "Python": platform.python_version(),
        "Kafka": _kafka_version(),
        "MongoDB": await _mongodb_version(addresses.mongodb_uri),
        "PostgreSQL": _postgres_version(addresses.postgres_uri("sales")),
    }


def _cpu_model() -> str:
    with Path("/proc/cpuinfo").open() as lines:
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or "unknown"


def _kafka_version() -> str:
    clients = [jar.stem for jar in kafka_jars(say) if jar.stem.startswith("kafka-clients-")]
    return clients[0].removeprefix("kafka-clients-")


async def _mongodb_version(uri: str) -> str:
    async with AsyncMongoClient[dict[str, object]](uri) as client:
        info = await client.server_info()
    return str(info["version"])


def _postgres_version(uri: str) -> str:
    with psycopg.connect(uri) as connection:
        row = connection.execute("SHOW server_version").fetchone()
    return str(row[0]) if row else "unknown"
