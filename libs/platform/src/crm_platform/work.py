"""The unit of work: what one command or one policy reaction may load, open and save.

All that is saved in a group commits together. A later command of the group sees an earlier one's events; a refused
one leaves nothing behind.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol, TypeVar
from uuid import UUID

from pydantic import BaseModel

from crm_events.envelope import Recorded, event_id
from crm_events.event import Event, Sealed
from crm_platform.aggregate import Aggregate
from crm_platform.errors import NotFound, NotYetHappened, VersionMismatch
from crm_platform.sealing import KeyErased

A = TypeVar("A", bound=Aggregate)
B = TypeVar("B", bound=BaseModel)

History = list[Recorded[Event]]


class StoredStream(NamedTuple):
    """A stream as it is stored: its events in order, and the bytes of the last one."""

    history: History
    last_state: bytes


CLOCK_SKEW = timedelta(minutes=5)
"""So far may a client's clock be ahead of ours."""


class StreamLoader(Protocol):
    def __call__(self, streams: Iterable[UUID]) -> Mapping[UUID, StoredStream]:
        """Each stream that exists."""
        ...


class Opener(Protocol):
    def __call__(self, block: Sealed, kind: type[B]) -> B:
        """The open form of a sealed personal block."""
        ...


class Staging:
    """The streams of a group: what is stored, and what the group has staged so far."""

    def __init__(self, load: StreamLoader, source: str) -> None:
        self._load = load
        self._source = source
        self._histories: dict[UUID, History] = {}
        self._last_states: dict[UUID, bytes] = {}
        self._aggregates: dict[UUID, dict[type[Aggregate], Aggregate]] = {}
        self.staged: History = []
        self.destroyed: dict[UUID, int] = {}
        """The data subjects whose keys the group destroys, each with the number of events that were staged before."""
        self.relies_on_keys = False
        """Whether what is staged holds only as long as no key is destroyed meanwhile."""

    def prefetch(self, streams: Iterable[UUID]) -> None:
        """Load every stream not yet known in one query."""
        wanted = {stream for stream in streams if stream not in self._histories}
        if wanted:
            found = self._load(wanted)
            self._histories.update({stream: found[stream].history if stream in found else [] for stream in wanted})
            self._last_states.update({stream: stored.last_state for stream, stored in found.items()})

    def last_state(self, stream: UUID) -> bytes | None:
        """The bytes of the stream's last event that is stored; None where none is."""
        return self._last_states.get(stream)

    def aggregate(self, kind: type[A], stream: UUID) -> A:
        """The stream as an aggregate of that kind; a stream of another kind shows as one that does not exist."""
        as_kinds = self._aggregates.setdefault(stream, {})
        known = as_kinds.get(kind)
        if not isinstance(known, kind):
            self.prefetch((stream,))
            known = as_kinds[kind] = kind.fold(stream, self._histories[stream])
        return known

    def forget(self, streams: Iterable[UUID]) -> None:
        """Drop the aggregates that a refused command may have changed; they are folded again when asked for."""
        for stream in streams:
            self._aggregates.pop(stream, None)

    def stage(self, work: "UnitOfWork", saved: Iterable[Aggregate]) -> None:
        """Take over the new events of a command that went through."""
        for aggregate in saved:
            first = aggregate.version - len(aggregate.pending) + 1
            history = self._histories[aggregate.id]
            for sequence, event in enumerate(aggregate.pending, first):
                recorded = work.recorded(self._source, aggregate.id, sequence, event, after=history)
                history.append(recorded)
                self.staged.append(recorded)
            aggregate.pending.clear()
            self._aggregates[aggregate.id] = {type(aggregate): aggregate}

    def destroy(self, subjects: Iterable[UUID]) -> None:
        """Destroy these data subjects' keys behind what is staged so far."""
        for subject in subjects:
            self.destroyed.setdefault(subject, len(self.staged))


class UnitOfWork:
    """One command's or reaction's view of the group.

    `now` is when it is recorded, `target` the aggregate that the command is given to, `traceparent` the trace context
    that its events carry.
    """

    def __init__(
        self,
        staging: Staging,
        opener: Opener,
        *,
        now: datetime,
        actor: str,
        causation: str,
        correlation: str,
        target: UUID | None = None,
        if_match: int | None = None,
        traceparent: str | None = None,
    ) -> None:
        self.now = now
        self.actor = actor
        self._target = target
        self._if_match = if_match
        self._staging = staging
        self._opener = opener
        self._causation = causation
        self._correlation = correlation
        self._traceparent = traceparent
        self._touched: dict[tuple[UUID, type[Aggregate]], Aggregate] = {}
        self._saved: dict[UUID, Aggregate] = {}
        self._destroyed: dict[UUID, None] = {}
        self.answers: list[str] = []

    def moment(self, told: datetime | None) -> datetime:
        """When a fact was true: now, unless the client knows better. A clock a little ahead of ours means now.

        Raises NotYetHappened.
        """
        if told is None:
            return self.now
        if told > self.now + CLOCK_SKEW:
            raise NotYetHappened("occurred_at lies in the future; send when it happened, or leave it out.")
        return min(told, self.now)

    @property
    def target_id(self) -> UUID:
        if self._target is None:
            raise TypeError("this work has no target aggregate; load one by its id")
        return self._target

    def load(self, kind: type[A], stream: UUID) -> A:
        """The aggregate with that id, new (version 0) if nothing was ever recorded."""
        aggregate = self._staging.aggregate(kind, stream)
        self._touched[stream, kind] = aggregate
        return aggregate

    def get(self, kind: type[A], stream: UUID) -> A:
        """The aggregate with that id; raises NotFound if it does not exist."""
        aggregate = self.load(kind, stream)
        if not aggregate.exists:
            raise NotFound(f"There is no {kind.__name__.lower()} {stream}.")
        return aggregate

    def target(self, kind: type[A]) -> A:
        """The aggregate that the command is for.

        Raises NotFound, or VersionMismatch if the client saw another version.
        """
        aggregate = self.get(kind, self.target_id)
        if self._if_match is not None and self._if_match != aggregate.version:
            raise VersionMismatch(
                f"It is at version {aggregate.version}, not {self._if_match}:"
                " read it again and repeat the request with its ETag."
            )
        return aggregate

    def save(self, aggregate: A) -> A:
        """Keep the aggregate's new events; they are stored when the whole command has gone through.

        Raises TypeError where the stream was saved as another kind: one's events would push out the other's.
        """
        if self._saved.setdefault(aggregate.id, aggregate) is not aggregate:
            raise TypeError(f"stream {aggregate.id} is saved twice by one command, as two kinds or two copies")
        return aggregate

    def open(self, block: B | Sealed, kind: type[B]) -> B:
        """The personal block in the clear; raises KeyErased if its key was destroyed, earlier in the group, too."""
        if not isinstance(block, Sealed):
            return block
        if block.subject in self._staging.destroyed:
            raise KeyErased.of_personal_data()
        return self._opener(block, kind)

    def destroy_key(self, subject: UUID) -> None:
        """Destroy the data subject's key, and with it all that is sealed under it, when the work has gone through.

        It is stored with the events of the work, and cannot be taken back. What this work itself has sealed for the
        subject goes with it; whatever wants to be sealed for the subject later is refused with KeyErased. A subject
        without a key, or with one that is destroyed, is no error.
        """
        self._destroyed[subject] = None

    def unless_erased(self) -> None:
        """What is decided from here on holds only if nobody was erased meanwhile: else it is decided again.

        For a decision about a person that writes nothing to the streams by which it knows the person.
        """
        self._staging.relies_on_keys = True

    def because_of(self, event: str) -> None:
        """What is recorded was caused by that event, not by the one that is reacted to, which only tells of it."""
        self._causation = event

    def await_answer(self, stream: UUID, version: int = 1) -> None:
        """Say that another service will answer in that stream; a read after this command waits for it too."""
        self.answers.append(f"{stream}@{version}")

    def commit(self) -> None:
        """Stage what was saved, in the order in which it was saved; what was decided and not saved is dropped."""
        self._staging.stage(self, self._saved.values())
        self._staging.destroy(self._destroyed)
        self._staging.forget(stream for (stream, _), aggregate in self._touched.items() if aggregate.pending)

    def discard(self) -> None:
        """Leave nothing of this work behind in the group."""
        self._staging.forget(stream for stream, _ in self._touched)

    def recorded(self, source: str, stream: UUID, sequence: int, event: Event, *, after: History) -> Recorded[Event]:
        """The event in its envelope; its time never goes back within the stream, whatever the clocks do."""
        return Recorded(
            id=event_id(stream, sequence),
            source=source,
            subject=stream,
            sequence=sequence,
            time=max(self.now, after[-1].time) if after else self.now,
            actor=self.actor,
            correlation=self._correlation,
            causation=self._causation,
            data=event,
            traceparent=self._traceparent,
        )


Handler = Callable[..., Aggregate]
"""One function per command: (command, work) -> the aggregate that the receipt speaks of."""
