"""What is really there, read past the platform and bit by bit: stored events, the topics' records, cursors, documents.

It lives as long as the stack does. Each `refresh` reads what came since the last one, so that a check after every row
costs what the row wrote and not what all rows wrote.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self
from uuid import UUID

import msgspec
import orjson
import psycopg
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from at_rest import POLICIES
from ledger import EVENT_STORING, READ_MODELS, Rows, kept_documents, row_of
from psycopg.rows import TupleRow
from pymongo import AsyncMongoClient

from crm_contacts.policies import CollectAcknowledgements
from crm_events import REGISTRY
from crm_events.envelope import PREVIOUS_HASH, Recorded, from_document
from crm_events.event import Event
from crm_events.topics import (
    CONTACTS,
    ERASURES,
    INTERACTIONS,
    KEYS,
    MARKETING,
    PARTITIONS,
    SALES,
    SERVICE,
    context_topic,
)
from crm_local.stack import Stack
from crm_platform import kafka
from crm_platform.erasure.destroy_keys import DestroyKeys
from crm_platform.erasure.ordered_erasures import OrderedErasures
from crm_platform.event_store.mapper import PRIVATE
from crm_platform.mongo_cursors import COLLECTION as CURSORS
from crm_platform.partitioning import partition_of
from crm_platform.projection import Document, Place, Projection

FACTS = (CONTACTS, SALES, SERVICE, MARKETING)
TOPICS = (*FACTS, INTERACTIONS, KEYS, ERASURES)
SERVICES = (*EVENT_STORING, "analytics", "gateway")
_ROWS = "SELECT notification_id, topic, state FROM store_events WHERE notification_id > %s ORDER BY notification_id"
_ANSWERS_WITHIN_MS = 5_000

Partition = tuple[str, int]
Cursors = dict[tuple[str, str, int], tuple[int, int]]
"""(consumer, topic, partition) -> (next offset, position)."""


class Stored(NamedTuple):
    position: int
    state: bytes
    event: Recorded[Event]


class Published(NamedTuple):
    partition: int
    position: int
    previous: int
    key: bytes
    value: bytes


@dataclass
class Fold:
    """A read model as it must be: the stored events folded in memory, event by event."""

    service: str
    projection: Projection
    documents: dict[tuple[type[Document], str], Document] = field(default_factory=dict)
    rows: Rows = field(default_factory=dict)

    def take(self, context: str, event: Recorded[Event]) -> None:
        place = Place(context_topic(context), partition_of(event.subject, PARTITIONS))
        if place.topic not in {topic.name for topic in self.projection.topics}:
            return
        for fold in self.projection.folds.get(type(event.data), ()):
            key = (fold.document, fold.key(event, place))
            folded = self.projection.apply(fold, self.documents.get(key), event)
            document = self.documents[key] = msgspec.structs.replace(folded, id=key[1])
            self.rows[f"{fold.document.collection}/{key[1]}"] = row_of(document, key[1])


_LATER_GENERATION = re.compile(r"\.v[0-9]+\.[0-9]+$")
"""A rebuild fills it and a test drops it again; its cursors come and go."""


class Reality:
    """Connections of the tests' own to every store and to Kafka, and what they have shown so far."""

    def __init__(self, stack: Stack, kafka_client: AIOKafkaConsumer, mongo: AsyncMongoClient[dict[str, Any]]) -> None:
        self._stack = stack
        self._kafka = kafka_client
        self._mongo = mongo
        self.stored: dict[str, list[Stored]] = {name: [] for name in EVENT_STORING}
        self.published: dict[str, list[Published]] = {topic.name: [] for topic in FACTS}
        self.folds = [Fold(service, projection) for service, projection in READ_MODELS]
        self.crafted: set[tuple[str, int, int]] = set()
        """(topic, partition, offset) of records that a row has written past the relays."""
        self._offsets: dict[TopicPartition, int] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls, stack: Stack) -> AsyncIterator[Self]:
        async with AsyncExitStack() as connections:
            client = await connections.enter_async_context(kafka.reader(stack.addresses.kafka_bootstrap))
            mongo: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
                stack.addresses.mongodb_uri,
                socketTimeoutMS=_ANSWERS_WITHIN_MS,
                serverSelectionTimeoutMS=_ANSWERS_WITHIN_MS,
            )
            connections.push_async_callback(mongo.close)
            yield cls(stack, client, mongo)

    async def refresh(self) -> None:
        """Read on in every store and topic."""
        for service in EVENT_STORING:
            await asyncio.to_thread(self._read_store, service)
        await self._read_topics()

    def _read_store(self, service: str) -> None:
        known = self.stored[service]
        for position, topic, state in self._ask(service, _ROWS, known[-1].position if known else 0):
            if topic.startswith(PRIVATE):
                continue
            document = bytes(state)
            event = from_document(orjson.loads(document), REGISTRY)
            known.append(Stored(position, document, event))
            for fold in self.folds:
                fold.take(service, event)

    async def _read_topics(self) -> None:
        ends = await self.ends()
        wanted = {TopicPartition(*place): end for place, end in ends.items() if place[0] in self.published}
        behind = {place: end for place, end in wanted.items() if self._offsets.get(place, 0) < end}
        if not behind:
            return
        self._kafka.assign(list(behind))
        for place in behind:
            self._kafka.seek(place, self._offsets.get(place, 0))
        while any(self._offsets.get(place, 0) < end for place, end in behind.items()):
            for place, records in (await self._kafka.getmany(timeout_ms=500)).items():
                self.published[place.topic].extend(
                    as_published(record)
                    for record in records
                    if (record.topic, record.partition, record.offset) not in self.crafted
                )
                self._offsets[place] = records[-1].offset + 1

    async def ends(self) -> dict[Partition, int]:
        """The offset after the last record of each partition."""
        wanted = [TopicPartition(topic.name, n) for topic in TOPICS for n in range(topic.partitions)]
        found: dict[TopicPartition, int] = await self._kafka.end_offsets(wanted)
        return {(place.topic, place.partition): end for place, end in found.items()}

    # -- cursors

    async def cursors(self) -> Cursors:
        """Where every consumer and every relay stands, as it is stored; of read models the first generation."""
        found: Cursors = {}
        for service in SERVICES:
            async for row in self._mongo[f"crm_{service}"][CURSORS].find({"consumer": {"$not": _LATER_GENERATION}}):
                found[row["consumer"], row["topic"], row["partition"]] = (row["next_offset"], row["position"])
        for service in EVENT_STORING:
            found |= await asyncio.to_thread(self._stored_cursors, service)
        return found

    def _stored_cursors(self, service: str) -> Cursors:
        policies = self._ask(service, "SELECT policy, topic, partition, next_offset, position FROM policy_cursors")
        relays = self._ask(service, "SELECT relay, position FROM relay_checkpoint")
        return {
            **{(policy, topic, number): (offset, position) for policy, topic, number, offset, position in policies},
            **{(f"relay of {service}", topic, -1): (position, position) for topic, position in relays},
        }

    async def backlog(self) -> list[str]:
        """What has not been published, or not been read, yet; by name."""
        ends, cursors = await self.ends(), await self.cursors()
        behind = [
            f"{consumer} at {cursors.get((consumer, topic, n), (0, 0))[0]} of {end} in {topic}/{n}"
            for consumer, topics in _consumers().items()
            for (topic, n), end in ends.items()
            if topic in topics and cursors.get((consumer, topic, n), (0, 0))[0] < end
        ]
        for service in EVENT_STORING:
            newest = await asyncio.to_thread(self.newest, service)
            published = cursors.get((f"relay of {service}", context_topic(service), -1), (0, 0))[1]
            if published < newest:
                behind.append(f"relay of {service} at {published} of {newest}")
        return behind

    def newest(self, service: str) -> int:
        """The position of the newest event that a service has stored."""
        ((newest,),) = self._ask(service, "SELECT coalesce(max(notification_id), 0) FROM store_events")
        return int(newest)

    def count(self, service: str) -> int:
        """How many events a service has stored, private ones included."""
        ((count,),) = self._ask(service, "SELECT count(*) FROM store_events")
        return int(count)

    # -- what else is kept

    async def kept(self, fold: Fold, mongodb_uri: str = "") -> Rows:
        """The documents of a read model, by collection and id; of the stack's MongoDB unless another is named."""
        uri = mongodb_uri or self._stack.addresses.mongodb_uri
        return await asyncio.to_thread(kept_documents, uri, fold.service, fold.projection)

    def broken_streams(self, service: str) -> list[UUID]:
        """Streams, private ones included, whose versions are not 1, 2, 3 and so on."""
        sql = (
            "SELECT originator_id FROM store_events GROUP BY originator_id"
            " HAVING count(*) <> max(originator_version) OR min(originator_version) <> 1"
        )
        return [stream for (stream,) in self._ask(service, sql)]

    def broken_links(self, service: str) -> list[UUID]:
        """Streams, private ones included, with an event whose link is not to the stored bytes of the one before."""
        sql = (
            "SELECT DISTINCT e.originator_id FROM store_events e JOIN store_events p"
            " ON p.originator_id = e.originator_id AND p.originator_version = e.originator_version - 1"
            " WHERE convert_from(e.state, 'UTF8')::json ->> %s"
            " <> rtrim(translate(encode(sha256(p.state), 'base64'), '+/', '-_'), '=')"
        )
        return [stream for (stream,) in self._ask(service, sql, PREVIOUS_HASH)]

    async def parked(self) -> set[tuple[str, str, str]]:
        """(consumer, topic, key) of every key that is parked."""
        found: set[tuple[str, str, str]] = set()
        for service in SERVICES:
            async for row in self._mongo[f"crm_{service}"]["parked_events"].find():
                found.add((row["consumer"], row["topic"], row["key"]))
        for service in EVENT_STORING:
            rows = self._ask(service, "SELECT DISTINCT policy, topic, key FROM parked_events")
            found |= {(policy, topic, key) for policy, topic, key in rows}
        return found

    def _ask(self, service: str, sql: str, *params: object) -> list[TupleRow]:
        with psycopg.connect(self._stack.addresses.postgres_uri(service), connect_timeout=5) as connection:
            return connection.execute(sql.encode(), params or None).fetchall()


def as_published(record: ConsumerRecord) -> Published:
    """A record of a domain topic, with its place in the store."""
    position = int(kafka.header(record.headers, "ce_position") or 0)
    previous = int(kafka.header(record.headers, "ce_previous") or 0)
    return Published(record.partition, position, previous, record.key, record.value)


def _consumers() -> Mapping[str, set[str]]:
    """Every consumer of the platform with its topics."""
    models = {model.identity: {topic.name for topic in model.topics} for _, model in READ_MODELS}
    policies = {policy.name: {topic.name for topic in policy.topics} for policy in POLICIES.values()}
    keyrings = {f"{service}.keyring": {KEYS.name} for service in SERVICES}
    of_erasures = (
        CollectAcknowledgements.name,
        *(OrderedErasures(service).identity for service in SERVICES),
        *(DestroyKeys(service).name for service in EVENT_STORING),
    )
    return {**models, **policies, **keyrings, **{name: {ERASURES.name} for name in of_erasures}}
