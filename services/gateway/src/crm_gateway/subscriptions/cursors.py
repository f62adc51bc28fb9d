"""Where a subscriber stands, and how that is written: opaque, signed, and good for one subject and one filter only."""

from collections.abc import Mapping
from typing import TypeVar

import msgspec
from aiokafka import TopicPartition

from crm_gateway.subscriptions.event_filter import EventFilter
from crm_platform.errors import Malformed
from crm_platform.http.paging import CursorSigner

T = TypeVar("T")

UNKNOWN = -1
"""The position before the first record of a partition that is read from the middle."""


class Standing(msgspec.Struct, frozen=True, array_like=True):
    """Where a subscriber stands in a partition: the next Kafka offset, and the highest position seen."""

    next_offset: int = 0
    position: int = 0


class LogCursor(msgspec.Struct, frozen=True, array_like=True, tag="log"):
    """How far the topics were read, by topic and partition number. `since` leaves out what was recorded before (ms)."""

    partitions: dict[str, dict[int, Standing]]
    since: int | None = None


class CustomerCursor(msgspec.Struct, frozen=True, array_like=True, tag="customer"):
    """How far a customer's events were given (see `belonging`), by topic and partition number.

    All that belongs up to `given` was given. While a step is under way, it leads up to `reaching`, and of its events
    those up to `after` (the topic's number, the position) were given.
    """

    given: dict[str, dict[int, int]]
    reaching: dict[str, dict[int, int]] | None = None
    after: tuple[int, int] = (0, 0)
    since: int | None = None


SubscriptionCursor = LogCursor | CustomerCursor
Positions = dict[TopicPartition, int]


class SubscriptionCursors:
    """Writes and reads the cursors of one token subject and one filter."""

    def __init__(self, key: bytes, subject: str, asked: EventFilter) -> None:
        # Length-prefixed by the encoding, so that no subject can pass for a part of a filter.
        self._signer = CursorSigner(key, msgspec.msgpack.encode(("events", subject, asked.identity)))

    def write(self, cursor: SubscriptionCursor) -> str:
        return self._signer.sign_payload(msgspec.msgpack.encode(cursor))

    def read(self, text: str) -> SubscriptionCursor:
        """Raises Malformed for a cursor that was altered, or given for another subject or another filter."""
        try:
            payload = self._signer.payload(text)
        except Malformed:
            raise Malformed(
                "The cursor is not one that was given to this token's subject for this `type` and `customer`, or it was"
                " altered. Ask as when you got it, or begin anew without it: with `from` from an instant on, without"
                " `from` from the first event."
            ) from None
        cursor: SubscriptionCursor = msgspec.msgpack.decode(payload, type=SubscriptionCursor)
        return cursor


def by_topic(places: Mapping[TopicPartition, T]) -> dict[str, dict[int, T]]:
    """Partitions as cursors hold them."""
    grouped: dict[str, dict[int, T]] = {}
    for place, value in places.items():
        grouped.setdefault(place.topic, {})[place.partition] = value
    return grouped


def by_place(grouped: Mapping[str, Mapping[int, T]]) -> dict[TopicPartition, T]:
    """The partitions of a cursor."""
    return {
        TopicPartition(topic, partition): value
        for topic, partitions in grouped.items()
        for partition, value in partitions.items()
    }
