"""What a checkpoint signs of each event: its place in the store, and a hash over its row (docs/adr/0015)."""

import hashlib
import struct
from collections.abc import Iterator
from typing import NamedTuple
from uuid import UUID

from psycopg.sql import SQL

_ENTRY = struct.Struct(">q16sq32s")
ENTRY_BYTES = _ENTRY.size

WRITTEN_BY_POSTGRESQL = SQL(
    "int8send(notification_id) || uuid_send(originator_id) || int8send(originator_version)"
    " || sha256(convert_to(coalesce(topic, ''), 'UTF8') || '\\x00'::bytea || coalesce(state, ''))"
)
"""An entry as PostgreSQL makes it of a row of the event table: signing moves no event out of the database."""


class Entry(NamedTuple):
    """`leaf` is `leaf_of` the row that stood at `position`."""

    position: int
    stream: UUID
    sequence: int
    leaf: bytes


def leaf_of(topic: str, state: bytes) -> bytes:
    """SHA-256 over topic and state; a topic of PostgreSQL's holds no NUL, so no two rows are the same message."""
    return hashlib.sha256(b"%b\0%b" % (topic.encode(), state)).digest()


def read_entries(packed: bytes) -> Iterator[Entry]:
    """Entries that stand one behind the other; raises struct.error where the last is cut off."""
    for position, stream, sequence, leaf in _ENTRY.iter_unpack(packed):
        yield Entry(position, UUID(bytes=stream), sequence, leaf)
