"""Kafka connections as the platform wants them: idempotent producers, consumers that start at our own cursors."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from crm_events.topics import MAX_MESSAGE_BYTES
from crm_platform.closed_connections import tell_closed_connections
from crm_platform.finishing import is_told_to_end
from crm_platform.header_names import read_any_header_name

read_any_header_name()
tell_closed_connections()

STOP_SECONDS = 3.0

CONNECTION: Mapping[str, Any] = {
    "request_timeout_ms": 10_000,
    "metadata_max_age_ms": 30_000,
    "retry_backoff_ms": 300,
}
"""Of every client. A broker that is silent over a request for 10 s has its connection closed; aiokafka would wait four
times as long, and hold what is polled or sent until then. One that is away is asked, and logged, three times a second.
"""

Headers = Sequence[tuple[str, bytes]]
TRANSIENT = (KafkaError, OSError, TimeoutError)
"""What goes away by itself when the broker comes back."""


def header(headers: Headers, name: str) -> str | None:
    """The first header of that name, as text; None where absent or not UTF-8."""
    for key, value in headers:
        if key == name and value is not None:
            return value.decode(errors="replace")
    return None


@asynccontextmanager
async def producer(bootstrap: str, **settings: Any) -> AsyncIterator[AIOKafkaProducer]:
    """An idempotent producer (acks of all replicas), started and, whatever happens, stopped.

    `linger_ms` 0: those who send batches have made them themselves. Raises KafkaError when no broker answers.
    """
    client = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        enable_idempotence=True,
        max_request_size=MAX_MESSAGE_BYTES,
        **{**CONNECTION, "linger_ms": 0, "max_batch_size": 256 * 1024, **settings},
    )
    try:
        await client.start()
        yield client
    finally:
        await stopped(client)


@asynccontextmanager
async def reader(bootstrap: str, **settings: Any) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer outside every group, for looking at a topic."""
    client = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        **{**CONNECTION, **settings},
    )
    try:
        await client.start()
        yield client
    finally:
        await stopped(client)


async def ping(bootstrap: str) -> None:
    """Ask the broker for a sign of life; raises KafkaError, OSError or TimeoutError where it gives none."""
    async with reader(bootstrap) as client:
        await client.topics()


async def stopped(client: AIOKafkaProducer | AIOKafkaConsumer) -> None:
    """Stop a client; a broker that does not answer is not waited for: what was not acknowledged is sent again."""
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await client.stop()
    except TimeoutError:
        return
    except asyncio.CancelledError:
        # aiokafka waits for its coordination, which may have been cancelled already.
        if is_told_to_end():
            raise


class Outgoing(NamedTuple):
    """A record on its way to its partition."""

    partition: int
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


async def send_in_batches(
    producer: AIOKafkaProducer, topic: str, records: Iterable[Outgoing]
) -> list[asyncio.Future[Any]]:
    """Send records in order within each partition, as many as fit into one batch at a time; returns the acks to await.

    Several times cheaper than sending each by itself, and the order is ours, no matter of `linger_ms`.
    """
    by_partition: dict[int, list[Outgoing]] = {}
    for record in records:
        by_partition.setdefault(record.partition, []).append(record)
    acks = []
    for partition, mine in by_partition.items():
        batch = producer.create_batch()
        for _, key, value, headers in mine:
            if batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
                acks.append(await producer.send_batch(batch, topic, partition=partition))
                batch = producer.create_batch()
                batch.append(key=key, value=value, timestamp=None, headers=headers)
        acks.append(await producer.send_batch(batch, topic, partition=partition))
    return acks


async def end_offsets(client: AIOKafkaConsumer, topic: str, partitions: int) -> Mapping[int, int]:
    """The offset after the last record of each partition."""
    wanted = [TopicPartition(topic, n) for n in range(partitions)]
    found: dict[TopicPartition, int] = await client.end_offsets(wanted)
    return {tp.partition: offset for tp, offset in found.items()}
