"""The door to crm.interactions: records written to Kafka, acknowledged by all replicas before anybody is answered."""

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from crm_events.topics import INTERACTIONS
from crm_gateway.interactions import LogRecord
from crm_platform import event_tracing, kafka
from crm_platform.backoff import Backoff
from crm_platform.errors import Unavailable
from crm_platform.logging import get_logger

WRITE_WITHIN_SECONDS = 4.5
LINGER_MILLISECONDS = 2

log = get_logger(__name__)


class InteractionLog:
    """Keeps one idempotent producer, connecting for as long as it takes; the gateway serves all else meanwhile."""

    name = "interaction-log"
    ready = True
    alive = True

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._client: AIOKafkaProducer | None = None
        self._connected = asyncio.Event()
        self._broken = asyncio.Event()

    async def run(self) -> None:
        """Stay connected; a producer that reported an error is replaced."""
        backoff = Backoff(most=2.0)
        while True:
            try:
                async with kafka.producer(self._bootstrap, linger_ms=LINGER_MILLISECONDS) as client:
                    backoff.succeeded()
                    await self._serve(client)
            except kafka.TRANSIENT as away:
                log.warning("kafka is away", err_type=type(away).__name__)
                await backoff.wait()

    async def _serve(self, client: AIOKafkaProducer) -> None:
        self._broken.clear()
        self._client = client
        self._connected.set()
        try:
            await self._broken.wait()
        finally:
            self._connected.clear()

    async def append(self, records: Sequence[LogRecord]) -> None:
        """Write all records. Raises Unavailable when they are not all acknowledged in time.

        Some may have been written then: sending them again is harmless, for each is known by its source and id.
        """
        try:
            async with asyncio.timeout(WRITE_WITHIN_SECONDS):
                await self._connected.wait()
                with event_tracing.publishing(INTERACTIONS.name, (record.headers for record in records)):
                    await self._write(records)
        except (KafkaError, OSError, TimeoutError) as failure:
            if isinstance(failure, KafkaError):
                self._broken.set()
            raise Unavailable(
                "The interactions cannot be stored now. Send the whole batch again: none counts twice."
            ) from failure

    async def _write(self, records: Sequence[LogRecord]) -> None:
        client = self._client
        assert client is not None  # noqa: S101 - it is set before _connected is
        acknowledgements = [
            await client.send(INTERACTIONS.name, record.value, key=record.key, headers=list(record.headers))
            for record in records
        ]
        await asyncio.gather(*acknowledgements)
