"""What the stores really hold, read past the platform: the events of PostgreSQL and the documents of MongoDB."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import bson
import orjson
import psycopg
from bson.codec_options import CodecOptions
from pymongo import MongoClient

from crm_analytics.projections import Kpis
from crm_contacts.projections import Contacts
from crm_events import REGISTRY
from crm_events.envelope import Recorded, from_document
from crm_events.event import Event
from crm_events.topics import context_topic
from crm_gateway.projections.customers import Customers
from crm_local.stack import Stack
from crm_marketing.projections import Campaigns
from crm_platform.event_store.mapper import PRIVATE
from crm_platform.folding import to_row
from crm_platform.generations import Generation
from crm_platform.mongo_cursors import COLLECTION as CURSORS
from crm_platform.partitioning import partition_of
from crm_platform.projection import Document, Place, Projection
from crm_platform.testing import fold_all
from crm_sales.projections.leads import Leads
from crm_sales.projections.opportunities import Opportunities
from crm_service.projections import Tickets

EVENT_STORING = ("contacts", "sales", "service", "marketing")
READ_MODELS: tuple[tuple[str, Projection], ...] = (
    ("contacts", Contacts()),
    ("sales", Leads()),
    ("sales", Opportunities()),
    ("service", Tickets()),
    ("marketing", Campaigns()),
    ("analytics", Kpis()),
    ("gateway", Customers()),
)
"""Every read model of the platform, and whose it is."""
Rows = dict[str, dict[str, Any]]


def stored_events(stack: Stack, service: str) -> list[tuple[int, Recorded[Event]]]:
    """Every published event of a service's store, in order, with its position."""
    with psycopg.connect(stack.addresses.postgres_uri(service)) as connection:
        rows = connection.execute(
            "SELECT notification_id, state FROM store_events WHERE topic NOT LIKE %s ORDER BY notification_id",
            (f"{PRIVATE}%",),
        ).fetchall()
    return [(position, from_document(orjson.loads(bytes(state)), REGISTRY)) for position, state in rows]


def heads(stack: Stack) -> dict[tuple[str, int], int]:
    """The position of the last published event in each partition, as the stores have it."""
    last: dict[tuple[str, int], int] = {}
    for service in EVENT_STORING:
        for position, event in stored_events(stack, service):
            last[context_topic(service), _partition(event)] = position
    return last


def _partition(event: Recorded[Event]) -> int:
    return partition_of(event.subject, 6)


@contextmanager
def mongodb(uri: str) -> Iterator[MongoClient[dict[str, Any]]]:
    client: MongoClient[dict[str, Any]] = MongoClient(uri, tz_aware=True)
    try:
        yield client
    finally:
        client.close()


def behind(stack: Stack, service: str, projection: Projection) -> list[str]:
    """The partitions that a read model has not read to the end yet."""
    with mongodb(stack.addresses.mongodb_uri) as client:
        found = client[f"crm_{service}"][CURSORS].find({"consumer": projection.identity})
        cursors = {(row["topic"], row["partition"]): row["position"] for row in found}
    topics = {topic.name for topic in projection.topics}
    return [
        f"{topic}/{partition} at {cursors.get((topic, partition), 0)} of {position}"
        for (topic, partition), position in heads(stack).items()
        if topic in topics and cursors.get((topic, partition), 0) < position
    ]


def kept_documents(mongodb_uri: str, service: str, projection: Projection) -> Rows:
    """Every document of a read model, by collection and id."""
    with mongodb(mongodb_uri) as client:
        database = client[f"crm_{service}"]
        return {
            f"{kind.collection}/{row['_id']}": row
            for kind in projection.documents()
            for row in database[Generation(projection).collection_name(kind)].find()
        }


def folded_documents(stack: Stack, projection: Projection) -> Rows:
    """What the read model must be: the stored events folded in memory, partition by partition."""
    contexts = [name for name in EVENT_STORING if context_topic(name) in {t.name for t in projection.topics}]
    rows: Rows = {}
    for context in contexts:
        events = [event for _, event in stored_events(stack, context)]
        for partition, mine in _by_partition(events).items():
            folded = fold_all(projection, mine, Place(context_topic(context), partition))
            for (kind, key), document in folded.items():
                name = f"{kind.collection}/{key}"
                assert name not in rows, f"{name} is written by two partitions"
                rows[name] = row_of(document, key)
    return rows


def row_of(document: Document, key: str) -> dict[str, Any]:
    """A folded document as it must be kept under that id."""
    return as_kept({**to_row(document), "_id": key})


def as_kept(row: dict[str, Any]) -> dict[str, Any]:
    """The row as MongoDB gives it back."""
    kept: dict[str, Any] = bson.decode(bson.encode(row), CodecOptions(tz_aware=True))
    return kept


def _by_partition(events: Iterable[Recorded[Event]]) -> dict[int, list[Recorded[Event]]]:
    partitions: dict[int, list[Recorded[Event]]] = {}
    for event in events:
        partitions.setdefault(_partition(event), []).append(event)
    return partitions
