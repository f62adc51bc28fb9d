"""Words for tests of domains and folds: given events, when a command, then events. Pure; no store, no broker."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Generic, Self, TypeVar
from uuid import UUID, uuid5

import msgspec

from crm_events.envelope import Recorded, event_id
from crm_events.event import Event
from crm_platform.aggregate import Aggregate
from crm_platform.errors import Refusal
from crm_platform.projection import Document, Place, Projection

A = TypeVar("A", bound=Aggregate)
E = TypeVar("E", bound=Event)

SOME_STREAM = UUID("00000000-0000-4000-8000-000000000001")
SOME_TIME = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


def recorded(
    event: E, *, subject: UUID = SOME_STREAM, sequence: int = 1, time: datetime = SOME_TIME, source: str = "/test"
) -> Recorded[E]:
    """The event in an envelope, as the store would give it."""
    return Recorded(event_id(subject, sequence), source, subject, sequence, time, "test", "story", "cause", event)


class Scenario(Generic[A]):
    """A deciding method, tried on an aggregate with a history."""

    def __init__(self, aggregate: A) -> None:
        self._aggregate = aggregate
        self._decision: Callable[[A], object] = lambda _: None

    def when(self, decision: Callable[[A], object]) -> Self:
        self._decision = decision
        return self

    def then(self, *expected: Event) -> A:
        """The decision records exactly these events."""
        self._decision(self._aggregate)
        if self._aggregate.pending != list(expected):
            raise AssertionError(f"recorded {self._aggregate.pending}, expected {list(expected)}")
        return self._aggregate

    def refuses(self, refusal: type[Refusal], *, saying: str = "") -> None:
        """The decision is refused, and nothing is recorded."""
        try:
            self._decision(self._aggregate)
        except refusal as refused:
            if saying not in str(refused):
                raise AssertionError(f"refused with {refused!s}, expected {saying!r} in it") from refused
            if self._aggregate.pending:
                raise AssertionError(f"refused, yet recorded {self._aggregate.pending}") from refused
            return
        raise AssertionError(f"not refused; recorded {self._aggregate.pending}")


def given(kind: type[A], *history: Event, id: UUID = SOME_STREAM) -> Scenario[A]:  # noqa: A002 - the aggregate's id
    """An aggregate to which these things have happened."""
    return Scenario(kind.fold(id, [recorded(event, subject=id, sequence=n) for n, event in enumerate(history, 1)]))


def fold_all(
    projection: Projection, events: Iterable[Recorded[Event]], place: Place | None = None
) -> dict[tuple[type[Document], str], Document]:
    """The documents of a read model after these events: the oracle that a live read model is compared with."""
    place = place or Place(projection.topics[0].name, 0)
    documents: dict[tuple[type[Document], str], Document] = {}
    for event in events:
        for fold in projection.folds.get(type(event.data), ()):
            key = (fold.document, fold.key(event, place))
            document = projection.apply(fold, documents.get(key), event)
            documents[key] = msgspec.structs.replace(document, id=key[1])
    return documents


def story_id(name: str) -> UUID:
    """A stable id for a test's story."""
    return uuid5(SOME_STREAM, name)
