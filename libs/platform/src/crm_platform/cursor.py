"""Where a consumer stands in a topic partition (docs/adr/0004)."""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum

import msgspec
from aiokafka import TopicPartition
from msgspec.structs import replace


class CursorMovedError(Exception):
    """The stored cursor is not what this consumer left: another one has the partition, or an operator has resolved
    parked events. Nothing was written.
    """


class Cursor(msgspec.Struct, frozen=True):
    """`next_offset` is the Kafka offset to read next, `position` the highest `ce_position` applied.

    `skipped` counts, by type, the events that this release does not handle; `gap` is the position that was expected
    before the first event passed over, None where nothing is missing. `recorded_at` is when the newest event applied
    was recorded: how fresh the results are. `resolved` counts the times that an operator resolved parked keys of the
    partition: a batch that began before finds its guard failed. `read_to` is the furthest that `next_offset` ever was:
    who looks back knows by it what has no position. `stored` says that the cursor was read from where it is kept.
    """

    next_offset: int = 0
    position: int = 0
    skipped: Mapping[str, int] = msgspec.field(default_factory=dict)
    gap: int | None = None
    recorded_at: datetime | None = None
    resolved: int = 0
    read_to: int = 0
    stored: bool = False

    def after(self, offset: int) -> "Cursor":
        """The record at that offset is dealt with."""
        return replace(self, next_offset=offset + 1, read_to=max(self.read_to, offset + 1))

    def kept(self) -> "Cursor":
        """The cursor once it is stored."""
        return replace(self, stored=True)

    def applied(self, position: int, recorded_at: datetime) -> "Cursor":
        newest = recorded_at if self.recorded_at is None else max(self.recorded_at, recorded_at)
        return replace(self, position=position, gap=None, recorded_at=newest)

    def passed_over(self) -> "Cursor":
        """An event came before one that is missing; the position stays until the gap is closed."""
        return self if self.gap is not None else replace(self, gap=self.position)

    def with_skipped(self, type_name: str) -> "Cursor":
        return replace(self, skipped={**self.skipped, type_name: self.skipped.get(type_name, 0) + 1})


Cursors = dict[TopicPartition, Cursor]


class Arrival(Enum):
    """What an event's place in the store says, compared with the cursor."""

    NEXT = "next"
    REPEAT = "duplicate"
    GAP = "gap"


def arrival(cursor: Cursor, position: int, previous: int) -> Arrival:
    """A repeat is skipped; the next one is applied; after a gap nothing is, until a relay closes it."""
    if position <= cursor.position:
        return Arrival.REPEAT
    return Arrival.NEXT if previous <= cursor.position else Arrival.GAP
