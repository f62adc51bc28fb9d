"""The documents of a read model as they were at any past moment: the same fold, over the events up to then.

Each stream's events up to a moment are a prefix of the stream (docs/adr/0017), so a fold never meets an event without
those that it builds on.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from crm_events.envelope import Recorded
from crm_events.event import Event
from crm_platform.folding import Documents, Folding, Target
from crm_platform.inbound import Inbound
from crm_platform.projection import Document, Projection


class Axis(StrEnum):
    """By which time the past is told: when a fact was recorded, or when it was true."""

    RECORDED = "recorded"
    OCCURRED = "occurred"


class Change(NamedTuple):
    """What one event made of one document; `before` is None where it made it."""

    target: Target
    before: Document | None
    after: Document


class Step(NamedTuple):
    """One event with what it changed."""

    event: Recorded[Event]
    changes: list[Change]


def known_at(inbounds: Iterable[Inbound], at: datetime, axis: Axis) -> list[Inbound]:
    """The events that count at that moment, of events in which each stream's stand in order.

    By `recorded` time those recorded by then. By `occurred` time those that were true by then, as is known today;
    an event counts no earlier than the events of its stream before it, which it builds on.
    """
    if axis is Axis.RECORDED:
        return [inbound for inbound in inbounds if inbound.applied_event.time <= at]
    return [inbound for inbound, since in _with_true_since(inbounds) if since <= at]


def _with_true_since(inbounds: Iterable[Inbound]) -> Iterator[tuple[Inbound, datetime]]:
    since: dict[UUID, datetime] = {}
    for inbound in inbounds:
        event = inbound.applied_event
        since[event.subject] = max(event.data.occurred_at, since.get(event.subject, event.data.occurred_at))
        yield inbound, since[event.subject]


def documents_after(projection: Projection, inbounds: Sequence[Inbound]) -> Documents:
    """The documents that these events make."""
    folding = _folding(projection, inbounds)
    for inbound in inbounds:
        folding.effect(inbound, inbound.applied_event)
    return folding.changed


def steps(projection: Projection, inbounds: Sequence[Inbound]) -> Iterator[Step]:
    """Each event with what it changed, in the order given."""
    folding = _folding(projection, inbounds)
    for inbound in inbounds:
        before = {target: folding.changed.get(target) for target in folding.targets_of(inbound)}
        folding.effect(inbound, inbound.applied_event)
        after = folding.changed
        yield Step(
            inbound.applied_event,
            [Change(t, was, after[t]) for t, was in before.items() if t in after and after[t] is not was],
        )


def _folding(projection: Projection, inbounds: Sequence[Inbound]) -> Folding:
    folding = Folding(projection, inbounds)
    folding.targets()
    return folding
