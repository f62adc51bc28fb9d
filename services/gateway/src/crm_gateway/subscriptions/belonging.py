"""When an event is a customer's: a rule of the log alone, never of when somebody reads it (docs/adr/0018).

A lead's or ticket's events come before contacts has answered whose it is. So an event belongs up to a point of the log
once both stand before that point: the event, and the answer that made its stream the customer's. What belongs up to a
point only grows as the point moves on. A subscriber moves from point to point and is given, each time, what belongs up
to the new one and did not up to the old: each event once, wherever the points lie.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from uuid import UUID

from aiokafka import TopicPartition
from msgspec.structs import replace

from crm_gateway.subscriptions.cursors import CustomerCursor, Positions, by_place, by_topic
from crm_gateway.subscriptions.event_filter import TOPICS
from crm_platform.history import Placed

_NUMBERS = {topic.name: number for number, topic in enumerate(TOPICS, 1)}


class Owned(NamedTuple):
    """An event of a customer, and the answer that made its stream the customer's; None where it needs none."""

    id: UUID
    placed: Placed
    answer: Placed | None

    @property
    def order(self) -> tuple[int, int]:
        """The order within a step: by topic, and there as they were stored, so each stream in its own order."""
        return _NUMBERS[self.placed.partition.topic], self.placed.position

    def belongs_up_to(self, point: Mapping[TopicPartition, int]) -> bool:
        return _before(self.placed, point) and (self.answer is None or _before(self.answer, point))


def _before(placed: Placed, point: Mapping[TopicPartition, int]) -> bool:
    return placed.position <= point.get(placed.partition, 0)


def covers(point: Mapping[TopicPartition, int], other: Mapping[TopicPartition, int]) -> bool:
    """Whether a point lies nowhere before another."""
    return all(point.get(place, 0) >= position for place, position in other.items())


def next_step(cursor: CustomerCursor, applied: Positions) -> CustomerCursor | None:
    """The cursor at its step: the one under way, else a new one up to what is applied.

    None where what is applied does not lead any further, or not as far as the cursor has been already.
    """
    given, reaching = by_place(cursor.given), by_place(cursor.reaching or {})
    if not (covers(applied, given) and covers(applied, reaching)):
        return None
    if cursor.reaching is not None:
        return cursor
    return None if covers(given, applied) else replace(cursor, reaching=by_topic(applied), after=(0, 0))


def due(events: Iterable[Owned], step: CustomerCursor) -> list[Owned]:
    """The events of a step that were not given yet, in order."""
    given, reaching = by_place(step.given), by_place(step.reaching or {})
    found = [
        event
        for event in events
        if event.order > step.after and event.belongs_up_to(reaching) and not event.belongs_up_to(given)
    ]
    return sorted(found, key=lambda event: event.order)


def after_event(step: CustomerCursor, event: Owned) -> CustomerCursor:
    """The cursor once that event of the step was given."""
    return replace(step, after=event.order)


def after_step(step: CustomerCursor) -> CustomerCursor:
    """The cursor once every event of the step was given."""
    return replace(step, given=step.reaching or step.given, reaching=None, after=(0, 0))
