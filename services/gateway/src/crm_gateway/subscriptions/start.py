"""Where a subscriber begins who has no cursor yet."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from aiokafka import TopicPartition

from crm_gateway.subscriptions.cursors import UNKNOWN, CustomerCursor, LogCursor, Positions, Standing, by_topic
from crm_gateway.subscriptions.event_filter import TOPICS
from crm_gateway.subscriptions.event_log import EventLog
from crm_platform.errors import Malformed, NotYetHappened

CLOCKS_DIFFER_MS = 10 * 60 * 1000
"""An event's time is of the process that decided it, its record's timestamp of the one that published it. Their clocks
are taken to be no further apart than this: so much earlier begins the reading from an instant on.
"""
MOST_POSITIONS = 64
_PLACE = re.compile(r"([a-z][a-z0-9._-]{0,99})/([0-9]{1,5})@([0-9]{1,18})")
_ANSWER = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}@[0-9]{1,10}")


class Start(NamedTuple):
    """`since` (ms) leaves out what was recorded before, in every partition; `positions` what stands up to them, each in
    its own. Without both: the first event.
    """

    since: int | None
    positions: Positions

    @classmethod
    def of(cls, instant: datetime | None, tokens: str | None) -> "Start":
        """Raises NotYetHappened and Malformed."""
        if instant is not None and instant > datetime.now(UTC):
            raise NotYetHappened("`from` is yet to come: give a moment that is past, or leave it out.")
        since = None if instant is None else int(instant.timestamp() * 1000)
        return cls(since, _positions(tokens or ""))


def _positions(tokens: str) -> Positions:
    """The positions of a CRM-Position. The answers that it names are still to come: they are what follows."""
    parts = tokens.split()
    if len(parts) > MOST_POSITIONS:
        raise Malformed(f"`position` may hold {MOST_POSITIONS} positions at most.")
    found: Positions = {}
    for part in parts:
        if place := _PLACE.fullmatch(part):
            at = _place(place[1], int(place[2]))
            found[at] = max(int(place[3]), found.get(at, 0))
        elif not _ANSWER.fullmatch(part):
            raise Malformed("`position` must hold positions as CRM-Position gave them, separated by spaces.")
    if parts and not found:
        raise Malformed("`position` names no place of a topic, such as crm.sales/3@479: give the whole CRM-Position.")
    return found


def _place(topic_name: str, partition: int) -> TopicPartition:
    for topic in TOPICS:
        if topic.name == topic_name and partition < topic.partitions:
            return TopicPartition(topic_name, partition)
    raise Malformed(
        "`position` names a topic or partition that cannot be subscribed to: there are"
        f" {', '.join(f'{topic.name}/0 to {topic.partitions - 1}' for topic in TOPICS)}."
    )


def customer_start(start: Start) -> CustomerCursor:
    """The cursor before a customer's first event."""
    return CustomerCursor(by_topic(start.positions), since=start.since)


async def log_start(log: EventLog, places: Sequence[TopicPartition], start: Start) -> LogCursor:
    """The cursor before the first event in these partitions. Raises Unavailable."""
    await log.following()
    if start.since is None:
        offsets = await log.beginnings(places)
    else:
        offsets = await log.published_since(places, start.since - CLOCKS_DIFFER_MS)
    # What stands before the first record is known at a topic's beginning only: nothing.
    standings = {place: Standing(offset, UNKNOWN if offset else 0) for place, offset in offsets.items()}
    for place in places:
        if (position := start.positions.get(place)) is not None:
            standings[place] = Standing(await log.offset_after(place, position), position)
    return LogCursor(by_topic(standings), start.since)
