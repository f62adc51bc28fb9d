"""Aggregates: decide, then apply.

A deciding method checks the rules and raises a `Refusal`, or calls `record`. `apply` only assigns and can never fail:
it runs again at every load.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Self
from uuid import UUID

from crm_events.envelope import Recorded
from crm_events.event import Event


class Aggregate(ABC):
    """`version` is the number of events folded; 0 means that nothing ever happened to it. `pending` are new events."""

    def __init__(self, id: UUID) -> None:  # noqa: A002 - it is the aggregate's id
        self.id = id
        self.version = 0
        self.pending: list[Event] = []

    @property
    def exists(self) -> bool:
        """Whether its first event has happened.

        An aggregate that clients name by id looks at its state instead: ids of other kinds name streams, too.
        """
        return self.version > 0

    def record(self, event: Event) -> None:
        """Take a decided event into the state and keep it for saving."""
        self.apply(event)
        self.version += 1
        self.pending.append(event)

    @abstractmethod
    def apply(self, event: Event) -> None:
        """Assign what the event says. No rules, no I/O, no failure."""

    @classmethod
    def fold(cls, id: UUID, history: Iterable[Recorded[Event]]) -> Self:  # noqa: A002 - as above
        """The aggregate as its history tells it."""
        aggregate = cls(id)
        for recorded in history:
            aggregate.apply(recorded.data)
            aggregate.version = recorded.sequence
        return aggregate
