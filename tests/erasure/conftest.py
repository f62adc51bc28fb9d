"""A platform whose folders are looked into: servers that compress nothing, and tidy up within seconds."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))

from door import Door

from crm_local.stack import Stack
from crm_platform import kafka

PLAIN_AND_PROMPT = {
    "kafka": {
        "compression.type": "uncompressed",
        "log.retention.check.interval.ms": "500",
        "log.cleaner.backoff.ms": "500",
        "log.segment.delete.delay.ms": "500",
    },
    "mongodb": {
        "wiredTigerCollectionBlockCompressor": "none",
        "wiredTigerJournalCompressor": "none",
        "wiredTigerIndexPrefixCompression": "false",
    },
    "postgres": {"wal_recycle": "off"},
}
ANSWERS_WITHIN = aiohttp.ClientTimeout(total=30)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack.temporary(adjusted=PLAIN_AND_PROMPT) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def crm(stack: Stack) -> AsyncIterator[Door]:
    async with aiohttp.ClientSession(timeout=ANSWERS_WITHIN) as session:
        yield Door(stack, session)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def adapter(stack: Stack) -> AsyncIterator[AIOKafkaProducer]:
    """What a channel adapter writes to Kafka with."""
    async with kafka.producer(stack.addresses.kafka_bootstrap) as producer:
        yield producer
