"""The platform at rest: nothing is on its way any more, so what it holds can be counted, and compared."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import psycopg
from aiokafka import AIOKafkaConsumer, TopicPartition
from door import eventually
from ledger import EVENT_STORING
from psycopg.rows import DictRow, dict_row

from crm_contacts.policies import IdentifyParties
from crm_events.topics import CONTACTS, INTERACTIONS, MARKETING, SALES, SERVICE
from crm_local.stack import Stack
from crm_marketing.policies import RecordEngagements
from crm_platform import kafka
from crm_platform.policy import Policy
from crm_sales.policies import LinkLeads
from crm_service.policies import LinkTickets

WRITTEN = (CONTACTS, SALES, SERVICE, MARKETING, INTERACTIONS)
"""The topics that facts are written to. Keys are published ahead of need, so crm.keys says nothing here."""
POLICIES: Mapping[str, type[Policy]] = {
    "contacts": IdentifyParties,
    "sales": LinkLeads,
    "service": LinkTickets,
    "marketing": RecordEngagements,
}
_COUNT = """SELECT (SELECT count(*) FROM store_events) AS events,
    (SELECT coalesce(max(notification_id), 0) FROM store_events) AS newest,
    (SELECT coalesce(max(position), 0) FROM relay_checkpoint) AS published,
    (SELECT coalesce(jsonb_object_agg(topic || '/' || partition, next_offset), '{}')
        FROM policy_cursors WHERE policy = %s) AS cursors"""

Store = psycopg.AsyncConnection[DictRow]
Counts = dict[str, DictRow]
Ends = dict[str, int]


@dataclass(frozen=True, slots=True)
class Holdings:
    """How many events each store holds, private ones included, and where each partition ends."""

    events: Mapping[str, int]
    ends: Mapping[str, int]

    def records(self, topic: str) -> int:
        """How many records the topic was ever given."""
        return sum(end for place, end in self.ends.items() if place.startswith(f"{topic}/"))


class Accounts:
    """Open connections to every store and to Kafka, past the platform, to count what is there."""

    def __init__(self, client: AIOKafkaConsumer, stores: Mapping[str, Store]) -> None:
        self._client = client
        self._stores = stores

    @classmethod
    @asynccontextmanager
    async def open(cls, stack: Stack) -> AsyncIterator[Self]:
        async with AsyncExitStack() as connections:
            client = await connections.enter_async_context(kafka.reader(stack.addresses.kafka_bootstrap))
            stores = {
                service: await connections.enter_async_context(await _connect(stack, service))
                for service in EVENT_STORING
            }
            yield cls(client, stores)

    @asynccontextmanager
    async def nothing_stored(self) -> AsyncIterator[None]:
        """Whatever is done inside leaves every store and every topic as it was, also after all reactions to it."""
        before = await self.at_rest()
        yield
        assert await self.at_rest() == before

    async def at_rest(self) -> Holdings:
        """What the platform holds once every event is published and every policy has read all that is."""
        found: list[Holdings] = []

        async def rests() -> bool:
            before = await self._counts()
            ends = await self._ends()
            if _is_done(before, ends) and await self._counts() == before:
                found.append(Holdings({service: row["events"] for service, row in before.items()}, ends))
            return bool(found)

        await eventually(rests, "every event is published and reacted to", every=0.02)
        return found[0]

    async def _counts(self) -> Counts:
        counts: Counts = {}
        for service, store in self._stores.items():
            row = await (await store.execute(_COUNT, (POLICIES[service].name,))).fetchone()
            assert row is not None
            counts[service] = row
        return counts

    async def _ends(self) -> Ends:
        wanted = [TopicPartition(topic.name, number) for topic in WRITTEN for number in range(topic.partitions)]
        found: dict[TopicPartition, int] = await self._client.end_offsets(wanted)
        return {f"{place.topic}/{place.partition}": end for place, end in found.items()}


async def _connect(stack: Stack, service: str) -> Store:
    return await psycopg.AsyncConnection.connect(
        stack.addresses.postgres_uri(service), autocommit=True, row_factory=dict_row
    )


def _is_done(counts: Counts, ends: Ends) -> bool:
    published = all(row["published"] == row["newest"] for row in counts.values())
    return published and all(_has_read_all(POLICIES[service], row["cursors"], ends) for service, row in counts.items())


def _has_read_all(policy: type[Policy], cursors: dict[str, Any], ends: Ends) -> bool:
    return all(cursors.get(place, 0) == ends[place] for place in _places(policy))


def _places(policy: type[Policy]) -> Iterable[str]:
    return (f"{topic.name}/{number}" for topic in policy.topics for number in range(topic.partitions))
