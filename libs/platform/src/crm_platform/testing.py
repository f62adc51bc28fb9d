"""Words for tests of domains and folds: given events, when a command, then events. Pure; no store, no broker."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Generic, Self, TypeVar
from uuid import UUID, uuid5

import msgspec
from pydantic import BaseModel

from crm_events.envelope import Recorded, event_id
from crm_events.event import Event, Sealed
from crm_platform.aggregate import Aggregate
from crm_platform.errors import Refusal
from crm_platform.projection import Document, Place, Projection
from crm_platform.work import Staging, StoredStream, UnitOfWork

A = TypeVar("A", bound=Aggregate)
E = TypeVar("E", bound=Event)
B = TypeVar("B", bound=BaseModel)

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


class Desk:
    """A unit of work over what has happened to some streams; nothing needs opening here.

    `history` happened to the target, `others` to other streams. `queries` are the sets of streams that were loaded.
    """

    def __init__(
        self,
        *history: Event,
        others: Mapping[UUID, Sequence[Event]] | None = None,
        target: UUID = SOME_STREAM,
        if_match: int | None = None,
    ) -> None:
        happened = {**(others or {}), **({target: history} if history else {})}
        stored = {
            stream: [recorded(event, subject=stream, sequence=n) for n, event in enumerate(events, 1)]
            for stream, events in happened.items()
        }
        self.queries: list[set[UUID]] = []

        def load(streams: Iterable[UUID]) -> Mapping[UUID, StoredStream]:
            self.queries.append(set(streams))
            return {stream: StoredStream(list(stored[stream]), b"") for stream in self.queries[-1] if stream in stored}

        self.staging = Staging(load, "/test")
        self.work = self.new_work(target, if_match)

    def new_work(self, target: UUID | None = None, if_match: int | None = None) -> UnitOfWork:
        """Another command's or reaction's work in the same group."""
        return UnitOfWork(
            self.staging,
            _opens_nothing,
            now=SOME_TIME,
            actor="test",
            causation="cause",
            correlation="story",
            target=target,
            if_match=if_match,
        )

    def staged(self) -> list[tuple[UUID, Event]]:
        """What the work has recorded, once it went through."""
        self.work.commit()
        return [(event.subject, event.data) for event in self.staging.staged]


def _opens_nothing(block: Sealed, kind: type[B]) -> B:
    raise AssertionError(f"the {kind.__name__} of event {block.event} need not be opened here")


def story_id(name: str) -> UUID:
    """A stable id for a test's story."""
    return uuid5(SOME_STREAM, name)
