"""Publishing messages, in order and acknowledged by every in-sync replica."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from crm_events.topics import INTERACTIONS, MAX_MESSAGE_BYTES
from crm_local.errors import LocalStackError
from crm_local.publish.message import Message

_BATCH_BYTES = 256 * 1024
_LINGER_MS = 5
_ANSWERS_WITHIN_MS = 10_000


class Sender:
    """Writes to the topic of the channel adapters."""

    def __init__(self, producer: AIOKafkaProducer, address: str) -> None:
        self._producer = producer
        self._address = address

    async def send(self, messages: Sequence[Message]) -> None:
        """Returns when all are stored. Raises LocalStackError if one may not be."""
        try:
            sent = [
                await self._producer.send(INTERACTIONS.name, value=each.value, key=each.key, headers=list(each.headers))
                for each in messages
            ]
            await asyncio.gather(*sent)
        except KafkaError as error:
            raise LocalStackError(f"Kafka at {self._address} did not take the records: {_words(error)}") from error


@asynccontextmanager
async def connect(bootstrap: str) -> AsyncIterator[Sender]:
    """A sender for the broker at `bootstrap`, host:port. Raises LocalStackError if none answers there."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        enable_idempotence=True,
        acks="all",
        linger_ms=_LINGER_MS,
        request_timeout_ms=_ANSWERS_WITHIN_MS,
        max_batch_size=_BATCH_BYTES,
        max_request_size=MAX_MESSAGE_BYTES,
    )
    try:
        try:
            await producer.start()
            await producer.partitions_for(INTERACTIONS.name)
        except (KafkaError, ValueError) as error:
            raise LocalStackError(
                f"no Kafka with the topic {INTERACTIONS.name} answers at {bootstrap} ({_words(error)}): "
                "'crm status' shows whether the stack runs, 'crm up' starts it"
            ) from error
        yield Sender(producer, bootstrap)
    finally:
        await producer.stop()


def _words(error: Exception) -> str:
    return type(error).__name__
