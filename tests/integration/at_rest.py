"""The platform at rest: nothing is on its way any more, so what it holds can be counted, and compared."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from aiokafka import AIOKafkaConsumer
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
_STORE = """SELECT (SELECT count(*) FROM store_events) AS events,
    (SELECT coalesce(max(notification_id), 0) FROM store_events) AS newest,
    (SELECT coalesce(max(position), 0) FROM relay_checkpoint) AS published,
    (SELECT coalesce(jsonb_object_agg(topic || '/' || partition, next_offset), '{}')
        FROM policy_cursors WHERE policy = %s) AS cursors"""

Stores = dict[str, DictRow]
Ends = dict[str, int]


@dataclass(frozen=True, slots=True)
class Holdings:
    """How many events each store holds, private ones included, and where each partition ends."""

    events: Mapping[str, int]
    ends: Mapping[str, int]


@asynccontextmanager
async def nothing_stored(stack: Stack) -> AsyncIterator[None]:
    """Whatever is done inside leaves every store and every topic as it was, also after all reactions to it."""
    before = await at_rest(stack)
    yield
    assert await at_rest(stack) == before


async def at_rest(stack: Stack) -> Holdings:
    """What the platform holds once every event is published and every policy has read all that is."""
    found: list[Holdings] = []
    async with AsyncExitStack() as open_connections:
        client = await open_connections.enter_async_context(kafka.reader(stack.addresses.kafka_bootstrap))
        connections = {
            service: await open_connections.enter_async_context(await _connect(stack, service))
            for service in EVENT_STORING
        }

        async def rests() -> bool:
            before = await _stores(connections)
            ends = await _ends(client)
            if _is_done(before, ends) and await _stores(connections) == before:
                found.append(Holdings({service: store["events"] for service, store in before.items()}, ends))
            return bool(found)

        await eventually(rests, "every event is published and reacted to", every=0.02)
    return found[0]


async def _connect(stack: Stack, service: str) -> psycopg.AsyncConnection[DictRow]:
    return await psycopg.AsyncConnection.connect(
        stack.addresses.postgres_uri(service), autocommit=True, row_factory=dict_row
    )


async def _stores(connections: Mapping[str, psycopg.AsyncConnection[DictRow]]) -> Stores:
    found: Stores = {}
    for service, connection in connections.items():
        row = await (await connection.execute(_STORE, (POLICIES[service].name,))).fetchone()
        assert row is not None
        found[service] = row
    return found


async def _ends(client: AIOKafkaConsumer) -> Ends:
    return {
        f"{topic.name}/{partition}": end
        for topic in WRITTEN
        for partition, end in (await kafka.end_offsets(client, topic.name, topic.partitions)).items()
    }


def _is_done(stores: Stores, ends: Ends) -> bool:
    published = all(store["published"] == store["newest"] for store in stores.values())
    return published and all(
        _has_read_all(POLICIES[service], store["cursors"], ends) for service, store in stores.items()
    )


def _has_read_all(policy: type[Policy], cursors: dict[str, Any], ends: Ends) -> bool:
    return all(cursors.get(place, 0) == ends[place] for place in _places(policy))


def _places(policy: type[Policy]) -> Iterable[str]:
    return (f"{topic.name}/{partition}" for topic in policy.topics for partition in range(topic.partitions))
