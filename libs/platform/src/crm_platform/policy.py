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


def when(event: type[Event], *, personal: bool = True) -> Callable[[Reaction], Reaction]:
    """Declare a method `(self, recorded event, work) -> None` as the reaction to one event type.

    The event's personal block arrives open; it is still `Sealed` only where its key was erased. A reaction that needs
    nothing of it says `personal=False`: then it stays sealed. Raising a Refusal or anything else means that the event
    cannot be applied: its key is parked.
    """

    def declare(method: Reaction) -> Reaction:
        method.__when__ = event  # type: ignore[attr-defined] # read by Policy below
        method.__personal__ = personal  # type: ignore[attr-defined] # the same
        return method

    return declare


class Policy:
    """A set of reactions under one stable name; `opens` are the events whose personal block they need."""

    name: str
    topics: ClassVar[tuple[Topic, ...]]
    reactions: ClassVar[dict[type[Event], str]]
    opens: ClassVar[frozenset[type[Event]]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        declared = {name: method for name, method in vars(cls).items() if hasattr(method, "__when__")}
        cls.reactions = {method.__when__: name for name, method in declared.items()}
        cls.opens = frozenset(method.__when__ for method in declared.values() if method.__personal__)

    def streams(self, event: Recorded[Event]) -> Iterable[UUID]:  # noqa: ARG002 - for those who override
        """Ids of the streams that reacting will load, so that a batch loads them in one query."""
        return ()

    def react(self, event: Recorded[Event], work: UnitOfWork) -> None:
        getattr(self, self.reactions[type(event.data)])(event, work)
