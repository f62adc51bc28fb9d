"""The rule of delivery: what a record's place, and the keys that are parked, decide about its effect.

Each event has its effect once, in order; one that cannot be applied parks its key, and every other key flows
(docs/adr/0004, docs/adr/0011). Nothing here reads or writes anything: a read model's folds and a policy's reactions are
effects to this module, and what is to be stored comes out as a Progress.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from aiokafka import ConsumerRecord, TopicPartition

from crm_events.envelope import Recorded
from crm_events.event import Event
from crm_platform.cursor import Arrival, Cursor, Cursors, arrival
from crm_platform.errors import Refusal, Unavailable
from crm_platform.inbound import UNCHAINED_TOPICS, Inbound

APPLIED, SKIPPED, PARKED, REFUSED = "applied", "skipped", "parked", "refused"

Effect = Callable[[Inbound, Recorded[Event]], None]
"""What an event does. It leaves nothing behind when it raises. Unavailable ends the batch: no event is to blame."""


def place_of(record: ConsumerRecord) -> TopicPartition:
    return TopicPartition(record.topic, record.partition)


class Parked(NamedTuple):
    """An event that goes to the parking lot; `reason` is None where it only waits behind one that cannot be applied."""

    inbound: Inbound
    reason: str | None


class SetAside(NamedTuple):
    """A record of a topic without a chain that breaks the contract."""

    record: ConsumerRecord
    reason: str


@dataclass(slots=True)
class Tally:
    """How many records of each topic had which outcome, and how many were of a type that nobody here has heard of."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)

    def copy(self) -> "Tally":
        return Tally(self.outcomes.copy(), self.unknown.copy())


@dataclass(slots=True)
class Standing:
    """Where a consumer stands: its cursors, and the keys that are parked in each partition.

    `unsaved` holds, for each partition whose cursor has moved without being stored, the cursor that is stored, and
    `uncounted` what became of the records in between: who reads them again counts them then.
    """

    cursors: Cursors = field(default_factory=dict)
    parked: dict[TopicPartition, set[str]] = field(default_factory=dict)
    unsaved: Cursors = field(default_factory=dict)
    uncounted: Tally = field(default_factory=Tally)

    def holds(self, place: TopicPartition, key: str) -> bool:
        return key in self.parked.get(place, ())

    def advance(self, progress: "Progress") -> None:
        """A batch is done: stored, or deferred."""
        if progress.deferred:
            self._defer(progress)
            return
        self.cursors.update({place: cursor.kept() for place, cursor in progress.cursors.items()})
        for inbound, _ in progress.parked:
            self.parked.setdefault(place_of(inbound.record), set()).add(inbound.key)
        for place in progress.cursors:
            self.unsaved.pop(place, None)
        self.uncounted = Tally()

    def _defer(self, progress: "Progress") -> None:
        """A batch had no effect: its cursors go with the next one that has. Who dies meanwhile reads it again."""
        self.uncounted = progress.tally
        for place, cursor in progress.cursors.items():
            self.unsaved.setdefault(place, self.cursors[place])
            self.cursors[place] = cursor


class Progress:
    """What comes of a batch: moved cursors, events to park, records to set aside, and how many had which outcome.

    Cursors and outcomes of deferred batches before it go with it.

    `deferred` says that nothing of it was stored, since it had no effect; see `Standing.advance`.
    """

    def __init__(self, standing: Standing) -> None:
        self._standing = standing
        self._newly_parked: set[tuple[TopicPartition, str]] = set()
        self.cursors: Cursors = {place: standing.cursors[place] for place in standing.unsaved}
        self.parked: list[Parked] = []
        self.set_aside: list[SetAside] = []
        self.applied: list[ConsumerRecord] = []
        self.tally = standing.uncounted.copy()
        self.deferred = False

    @property
    def before(self) -> Mapping[TopicPartition, Cursor]:
        """The cursors as they are stored."""
        return {**self._standing.cursors, **self._standing.unsaved}

    @property
    def has_effect(self) -> bool:
        """Whether anything but cursors is to be stored."""
        return bool(self.applied or self.parked or self.set_aside)

    def cursor(self, record: ConsumerRecord) -> Cursor:
        place = place_of(record)
        return self.cursors.get(place) or self._standing.cursors[place]

    def holds(self, inbound: Inbound) -> bool:
        """Whether the event's key is parked, before this batch or in it."""
        place = place_of(inbound.record)
        return self._standing.holds(place, inbound.key) or (place, inbound.key) in self._newly_parked

    def move(self, record: ConsumerRecord, cursor: Cursor, outcome: str) -> None:
        """The record is dealt with."""
        self.cursors[place_of(record)] = cursor.after(record.offset)
        if outcome == APPLIED:
            self.applied.append(record)
        self.tally.outcomes[record.topic, outcome] += 1

    def skip(self, inbound: Inbound, cursor: Cursor, type_name: str) -> None:
        """An event of a type that is not handled is counted by name."""
        if inbound.unknown:
            self.tally.unknown[inbound.record.topic] += 1
        self.move(inbound.record, cursor.with_skipped(type_name), SKIPPED)

    def park(self, inbound: Inbound, cursor: Cursor, reason: str | None) -> None:
        self.parked.append(Parked(inbound, reason))
        self._newly_parked.add((place_of(inbound.record), inbound.key))
        self.move(inbound.record, cursor, PARKED)

    def refuse(self, record: ConsumerRecord, cursor: Cursor, reason: str) -> None:
        self.set_aside.append(SetAside(record, reason))
        self.move(record, cursor, REFUSED)


def deliver(inbounds: Iterable[Inbound], progress: Progress, effect: Effect, because: str | None = None) -> None:
    """Let each event of a batch have its effect, in order.

    `because` parks whatever would have had one: the store has refused what came of it.
    """
    for inbound in inbounds:
        if inbound.given_up:
            _pass_over(inbound, progress)
        elif inbound.record.topic in UNCHAINED_TOPICS:
            _deliver_unchained(inbound, progress, effect, because)
        elif inbound.link is None:
            _deliver_unproven(inbound, progress)
        else:
            _deliver_linked(inbound, inbound.link.position, inbound.link.previous, progress, effect, because)


def redeliver(inbounds: Iterable[Inbound], effect: Effect) -> tuple[int, str | None]:
    """Let parked events have their effect, in order, whatever their place: until one cannot be applied.

    Returns how many are dealt with, and why the next one cannot be; None where all are.
    """
    done = 0
    for inbound in inbounds:
        reason = _redelivered(inbound, effect)
        if reason is not None:
            return done, reason
        done += 1
    return done, None


def _redelivered(inbound: Inbound, effect: Effect) -> str | None:
    if inbound.event is None:
        return inbound.refusal
    try:
        effect(inbound, inbound.event)
    except Unavailable:
        raise
    except Refusal as refusal:
        return str(refusal)
    except Exception as failure:  # noqa: BLE001 - as in its first delivery
        return reason_of(failure, inbound)
    return None


def _pass_over(inbound: Inbound, progress: Progress) -> None:
    """What an operator has discarded has no effect, and holds up nothing behind it."""
    cursor = progress.cursor(inbound.record)
    if inbound.link is not None and inbound.link.position > cursor.position:
        cursor = cursor.applied(inbound.link.position, _recorded_at(inbound))
    progress.move(inbound.record, cursor, SKIPPED)


def _deliver_unproven(inbound: Inbound, progress: Progress) -> None:
    """What has no place in a chain is known by its offset when it is read again: it is parked, or was discarded."""
    cursor = progress.cursor(inbound.record)
    if inbound.record.offset < cursor.read_to:
        progress.move(inbound.record, cursor, Arrival.REPEAT.value)
    else:
        progress.park(inbound, cursor, inbound.refusal)


def _deliver_linked(
    inbound: Inbound, position: int, previous: int, progress: Progress, effect: Effect, because: str | None
) -> None:
    record = inbound.record
    cursor = progress.cursor(record)
    match arrival(cursor, position, previous):
        case Arrival.REPEAT:
            progress.move(record, cursor, Arrival.REPEAT.value)
        case Arrival.GAP:
            progress.move(record, cursor.passed_over(), Arrival.GAP.value)
        case Arrival.NEXT:
            _deliver_next(inbound, cursor.applied(position, _recorded_at(inbound)), progress, effect, because)


def _deliver_next(inbound: Inbound, moved: Cursor, progress: Progress, effect: Effect, because: str | None) -> None:
    if progress.holds(inbound):
        progress.park(inbound, moved, None)
    elif inbound.unhandled is not None:
        progress.skip(inbound, moved, inbound.unhandled)
    else:
        _have_effect(inbound, moved, progress, effect, because or inbound.refusal)


def _deliver_unchained(inbound: Inbound, progress: Progress, effect: Effect, because: str | None) -> None:
    """Repeats in a topic without a chain are caught where the record's effect is stored."""
    cursor = progress.cursor(inbound.record)
    if inbound.refusal is not None:
        progress.refuse(inbound.record, cursor, inbound.refusal)
    elif inbound.unhandled is not None:
        progress.skip(inbound, cursor, inbound.unhandled)
    elif progress.holds(inbound):
        progress.park(inbound, cursor, None)
    else:
        _have_effect(inbound, cursor, progress, effect, because)


def _have_effect(inbound: Inbound, moved: Cursor, progress: Progress, effect: Effect, because: str | None) -> None:
    if because is not None or inbound.event is None:
        progress.park(inbound, moved, because)
        return
    try:
        effect(inbound, inbound.event)
    except Unavailable:
        raise
    except Refusal as refusal:
        if inbound.record.topic in UNCHAINED_TOPICS:
            progress.refuse(inbound.record, moved, str(refusal))
        else:
            progress.park(inbound, moved, str(refusal))
    except Exception as failure:  # noqa: BLE001 - whatever an effect raises parks its key, not the others
        progress.park(inbound, moved, reason_of(failure, inbound))
    else:
        progress.move(inbound.record, moved, APPLIED)


def reason_of(failure: Exception, inbound: Inbound) -> str:
    """Why an event cannot be applied, in words that hold none of its own: they may be personal."""
    return f"{type(failure).__name__} at event {inbound.event_id}"


def _recorded_at(inbound: Inbound) -> datetime:
    """When the event was recorded; for one that was not parsed, when it was published."""
    if inbound.event is not None:
        return inbound.event.time
    return datetime.fromtimestamp(inbound.record.timestamp / 1000, tz=UTC)
