"""Policies: when another service's fact means work for us.

    class LinkLeads(Policy):
        name, topics = "sales.link-leads", (CONTACTS,)

        @when(PartyResolved)
        def link(self, event: Recorded[PartyResolved], work: UnitOfWork) -> None: ...

A reaction decides on our own aggregates; its events and the policy's cursor are stored in one transaction.
"""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar
from uuid import UUID

from crm_events.envelope import Recorded
from crm_events.event import Event
from crm_events.topics import Topic
from crm_platform.work import UnitOfWork

Reaction = Callable[..., None]


def when(event: type[Event]) -> Callable[[Reaction], Reaction]:
    """Declare a method `(self, recorded event, work) -> None` as the reaction to one event type.

    The event's personal block arrives open; it is still `Sealed` only where its key was erased. Raising a Refusal or
    anything else means that the event cannot be applied: its partition stops.
    """

    def declare(method: Reaction) -> Reaction:
        method.__when__ = event  # type: ignore[attr-defined] # read by Policy below
        return method

    return declare


class Policy:
    """A set of reactions under one stable name."""

    name: ClassVar[str]
    topics: ClassVar[tuple[Topic, ...]]
    reactions: ClassVar[dict[type[Event], str]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.reactions = {method.__when__: name for name, method in vars(cls).items() if hasattr(method, "__when__")}

    def streams(self, event: Recorded[Event]) -> Iterable[UUID]:  # noqa: ARG002 - for those who override
        """Ids of the streams that reacting will load, so that a batch loads them in one query."""
        return ()

    def react(self, event: Recorded[Event], work: UnitOfWork) -> None:
        getattr(self, self.reactions[type(event.data)])(event, work)
