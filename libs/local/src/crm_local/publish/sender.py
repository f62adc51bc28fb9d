"""Publishing messages, in order and acknowledged by every in-sync replica."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError

from crm_events.topics import INTERACTIONS, MAX_MESSAGE_BYTES
from crm_local.errors import LocalStackError
from crm_local.publish.message import Message

_BATCH_BYTES = 256 * 1024
_LINGER_MS = 5
_ANSWERS_WITHIN_MS = 10_000
_SILENT_AFTER = 15.0
_CLOSES_WITHIN = 5.0


class KafkaSilentError(LocalStackError):
    """Kafka acknowledges nothing any more. What was sent last may be stored or not."""


class Sender:
    """Writes to the topic of the channel adapters."""

    def __init__(self, producer: AIOKafkaProducer, address: str) -> None:
        self._producer = producer
        self._address = address

    async def send(self, messages: Sequence[Message]) -> None:
        """Returns when all are stored.

        Raises LocalStackError if one may not be, KafkaSilentError if nothing is acknowledged for 15 seconds.
        """
        sent: list[asyncio.Future[Any]] = []
        try:
            for each in messages:
                sent.append(await self._hand_over(each))  # noqa: PERF401 - the first are kept if a later one fails
            await self._acknowledged(sent)
        except KafkaError as error:
            if error.retriable or isinstance(error, KafkaTimeoutError):
                # A broker that stops in good order says so before it falls silent.
                raise self._silent() from error
            raise LocalStackError(f"Kafka at {self._address} did not take the records: {_words(error)}") from error
        finally:
            for unanswered in sent:
                unanswered.cancel()

    async def _hand_over(self, message: Message) -> asyncio.Future[Any]:
        acknowledged: asyncio.Future[Any] = await self._producer.send(
            INTERACTIONS.name, value=message.value, key=message.key, headers=list(message.headers)
        )
        return acknowledged

    async def _acknowledged(self, sent: Sequence[asyncio.Future[Any]]) -> None:
        # An idempotent producer tries again for ever, so the end of patience is decided here.
        pending = set(sent)
        while pending:
            done, pending = await asyncio.wait(pending, timeout=_SILENT_AFTER, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                raise self._silent()
            await asyncio.gather(*done)

    def _silent(self) -> KafkaSilentError:
        return KafkaSilentError(f"Kafka at {self._address} no longer answers: 'crm status' shows whether it runs")


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
            async with asyncio.timeout(_SILENT_AFTER):
                await producer.start()
                await producer.partitions_for(INTERACTIONS.name)
        except (KafkaError, ValueError, TimeoutError) as error:
            raise LocalStackError(
                f"no Kafka with the topic {INTERACTIONS.name} answers at {bootstrap} ({_words(error)}): "
                "'crm status' shows whether the stack runs, 'crm up' starts it"
            ) from error
        yield Sender(producer, bootstrap)
    finally:
        await _close(producer)


async def _close(producer: AIOKafkaProducer) -> None:
    """Stops the producer, without what it could not send if Kafka does not take that any more."""
    try:
        async with asyncio.timeout(_CLOSES_WITHIN):
            await producer.stop()
    except TimeoutError:
        await producer.client.close()


def _words(error: Exception) -> str:
    return type(error).__name__
