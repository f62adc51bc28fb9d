"""The topics, declared: names, partitions, retention. Partition counts never change in place (docs/adr/0003)."""

from dataclasses import dataclass

PARTITIONS = 6
DAY_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Topic:
    """`retention_ms` None keeps everything; `compacted` keeps the newest record of each key."""

    name: str
    partitions: int = PARTITIONS
    retention_ms: int | None = None
    compacted: bool = False


CONTACTS = Topic("crm.contacts")
SALES = Topic("crm.sales")
SERVICE = Topic("crm.service")
MARKETING = Topic("crm.marketing")
ANALYTICS = Topic("crm.analytics")
INTERACTIONS = Topic("crm.interactions", retention_ms=7 * DAY_MS)
KEYS = Topic("crm.keys", partitions=3, compacted=True)
ERASURES = Topic("crm.erasures", partitions=1)

TOPICS = (CONTACTS, SALES, SERVICE, MARKETING, ANALYTICS, INTERACTIONS, KEYS, ERASURES)

MAX_RECORD_BYTES = 256 * 1024
"""At every door a record is at most this long."""
MAX_STORED_EVENT_BYTES = 512 * 1024
MAX_MESSAGE_BYTES = 1024 * 1024
"""What broker and producers carry: a stored event with its headers always fits."""


def context_topic(context: str) -> str:
    return f"crm.{context}"
