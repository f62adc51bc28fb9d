"""Writing to crm.erasures (docs/adr/0020)."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

import orjson
from aiokafka import AIOKafkaProducer

from crm_events.envelope import STRUCTURED, Recorded, to_document
from crm_events.erasures import ErasureRecord, erasure_record_id
from crm_events.topics import ERASURES
from crm_platform import kafka
from crm_platform.authenticity import HEADER as MAC_HEADER
from crm_platform.authenticity import Authenticator
from crm_platform.inbound import NO_LINK
from crm_platform.partitioning import address_of


class Cause(NamedTuple):
    """Why a record is written: the id of the event that led to it all, `ContactErased`, and of the story it is in."""

    event: str
    story: str


class ErasureLog:
    """Writes the records of one service. What is written twice changes nothing."""

    def __init__(self, service: str, bootstrap: str, authenticator: Authenticator) -> None:
        self._service = service
        self._bootstrap = bootstrap
        self._authenticator = authenticator

    async def write(self, records: Iterable[ErasureRecord], cause: Cause) -> None:
        """In order, each acknowledged before the next is sent. Raises KafkaError, OSError or TimeoutError."""
        async with kafka.producer(self._bootstrap) as producer:
            for record in records:
                await self._send(producer, self._outgoing(record, cause, datetime.now(UTC)))

    async def _send(self, producer: AIOKafkaProducer, outgoing: kafka.Outgoing) -> None:
        await producer.send_and_wait(
            ERASURES.name,
            outgoing.value,
            key=outgoing.key,
            partition=outgoing.partition,
            headers=outgoing.headers,
        )

    def _outgoing(self, record: ErasureRecord, cause: Cause, now: datetime) -> kafka.Outgoing:
        written = Recorded(
            id=erasure_record_id(record),
            source=f"/crm/{self._service}",
            subject=record.contact_id,
            sequence=1,
            time=now,
            actor=f"service:{self._service}",
            correlation=cause.story,
            causation=cause.event,
            data=record,
        )
        key, partition = address_of(record.contact_id, ERASURES.partitions)
        value, type_name = orjson.dumps(to_document(written)), record.type_name().encode()
        mac = self._authenticator.mac(ERASURES.name, partition, *NO_LINK, type_name, key, value)
        headers = [
            ("content-type", STRUCTURED.encode()),
            ("ce_id", str(written.id).encode()),
            ("ce_type", type_name),
            (MAC_HEADER, mac),
        ]
        return kafka.Outgoing(partition, key, value, headers)
