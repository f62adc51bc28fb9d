"""Commands that arrive together commit together (docs/adr/0006).

The commands of a group share one unit of work: their streams are loaded by one query, a later one sees an earlier
one's events, a refused one leaves nothing. On any refusal by the database the command ids are looked up first (found
means done), the rest is decided again, at most three times as a group, then one by one.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol, TypeVar
from uuid import UUID

import orjson
from eventsourcing.persistence import IntegrityError, PersistenceError, StoredEvent
from pydantic import BaseModel

from crm_events.envelope import Recorded
from crm_events.event import Event, Sealed
from crm_events.topics import MAX_STORED_EVENT_BYTES, Topic
from crm_platform.command import Command, Order, Receipt
from crm_platform.crash_points import CrashPoint, passing
from crm_platform.errors import KeyReused, Refusal, TooLarge, Unavailable
from crm_platform.event_store.application import EventStore
from crm_platform.event_store.recorder import Destructions, GuardFailedError, KeysDestroyedError, Statement
from crm_platform.event_store.subject_keys import Keys, SubjectKeys
from crm_platform.logging import get_logger
from crm_platform.metrics import COMMANDS, EVENTS_APPENDED, KEYS_DESTROYED
from crm_platform.partitioning import partition_of
from crm_platform.sealing import KeyErased, SubjectKey
from crm_platform.tracing import CommandTrace
from crm_platform.work import Handler, Staging, StreamLoader, UnitOfWork

B = TypeVar("B", bound=BaseModel)

GROUP_ATTEMPTS = 3

log = get_logger(__name__)


@dataclass(slots=True, eq=False)
class Job:
    """A command on its way; `expired` once nobody waits for its answer any more, `trace` where it is traced."""

    handler: Handler
    command: Command
    order: Order
    size: int
    trace: CommandTrace | None = None
    expired: bool = False


Outcome = Receipt | BaseException


class Decided(NamedTuple):
    """A command that went through: which of the group's staged events are its own."""

    job: Job
    id: UUID
    version: int
    first: int
    last: int
    answers: tuple[str, ...]


class UnstorableError(Exception):
    """Some staged events cannot be stored; the commands that staged them are refused, the others go on."""

    def __init__(self, indexes: AbstractSet[int], refusal: Refusal) -> None:
        super().__init__(str(refusal))
        self.indexes = indexes
        self.refusal = refusal


class Decision(Protocol):
    """What a policy batch stages, and the statements that guard it."""

    def __call__(self, staging: Staging) -> Sequence[Statement]: ...


@dataclass(slots=True)
class _Sealing:
    """Events as they are stored; `keys_as_of` is from before their keys were looked up, None where none was needed."""

    events: list[StoredEvent]
    keys_as_of: Destructions | None = None
    assigned: dict[UUID, SubjectKey] = field(default_factory=dict)


class _Staging(Staging):
    """`as_of` is from before anything of it was loaded."""

    def __init__(self, load: StreamLoader, source: str, as_of: Destructions) -> None:
        super().__init__(load, source)
        self.as_of = as_of


class Committer:
    """Decides and stores, one group after another; used by the writer thread only."""

    def __init__(self, store: EventStore, keys: SubjectKeys, topic: Topic) -> None:
        self._store = store
        self._keys = keys
        self._topic = topic
        self._source = f"/{topic.name.replace('.', '/')}"

    # -- commands

    def commands(self, jobs: Sequence[Job]) -> dict[Job, Outcome]:
        """Carry out a group; every job has an outcome."""
        outcomes: dict[Job, Outcome] = {}
        for attempt in range(GROUP_ATTEMPTS):
            waiting = [job for job in jobs if job not in outcomes and not job.expired]
            if self._tried(waiting, outcomes, repeated=attempt > 0):
                break
        for job in jobs:
            if job not in outcomes and (job.expired or not self._tried([job], outcomes, repeated=True)):
                outcomes[job] = Unavailable(
                    "The event store did not take the command, or its answer was lost. Repeat the request with the"
                    " same Idempotency-Key: it is carried out once."
                )
        for label, count in Counter(map(_label, outcomes.values())).items():
            COMMANDS.labels(outcome=label).inc(count)
        return outcomes

    def _tried(self, jobs: Sequence[Job], outcomes: dict[Job, Outcome], *, repeated: bool) -> bool:
        try:
            self._attempt(jobs, outcomes, repeated=repeated)
        except PersistenceError as failure:
            log.warning("commit_failed", exc_info=failure, commands=len(jobs))
            return False
        except Exception as failure:
            # A stream that cannot be read, say: it is one command's failure, never the group's.
            log.error("group_failed", exc_info=failure, commands=len(jobs))
            if len(jobs) > 1:
                return False
            outcomes |= dict.fromkeys(jobs, failure)
        return True

    def _attempt(self, jobs: Sequence[Job], outcomes: dict[Job, Outcome], *, repeated: bool) -> None:
        self._answer_from_replies(jobs, outcomes, repeated=repeated)
        open_jobs = [job for job in jobs if job not in outcomes]
        by_id: dict[UUID, Job] = {}
        for job in open_jobs:
            by_id.setdefault(job.order.id, job)
        firsts = list(by_id.values())
        while firsts:
            staging, decided, refused = self._decide(firsts)
            passing(CrashPoint.COMMAND_DECIDED)
            try:
                receipts = self._commit(staging, decided)
            except UnstorableError as unstorable:
                for culprit in _culprits(decided, unstorable.indexes):
                    outcomes[culprit] = unstorable.refusal
                    firsts.remove(culprit)
                continue
            passing(CrashPoint.COMMAND_APPENDED)
            outcomes |= refused | receipts
            break
        for job in open_jobs:
            if job not in outcomes:
                first = by_id[job.order.id]
                outcomes[job] = _answer(job, first.order.fingerprint, outcomes[first])

    def _answer_from_replies(self, jobs: Sequence[Job], outcomes: dict[Job, Outcome], *, repeated: bool) -> None:
        """A command id that is found is done. Ids of our own making can only be found after a failed attempt."""
        asked = [job for job in jobs if job.order.client_given or repeated]
        replies = self._store.store.select_replies(job.order.id for job in asked) if asked else {}
        for job in asked:
            reply = replies.get(job.order.id)
            if reply is not None:
                outcomes[job] = _answer(job, reply.fingerprint, _read_receipt(reply.receipt))

    def _decide(self, jobs: Sequence[Job]) -> tuple[_Staging, list[Decided], dict[Job, Outcome]]:
        staging = self.staging()
        targets = {job: job.order.target for job in jobs}
        staging.prefetch(stream for job, target in targets.items() for stream in (target, *job.command.streams(target)))
        decided: list[Decided] = []
        refused: dict[Job, Outcome] = {}
        for job in jobs:
            order, first = job.order, len(staging.staged)
            work = UnitOfWork(
                staging,
                self.open,
                now=order.now,
                actor=order.actor,
                causation=str(order.id),
                correlation=order.correlation or str(order.id),
                target=order.target,
                if_match=order.if_match,
                traceparent=job.trace.traceparent if job.trace else None,
            )
            try:
                aggregate = job.handler(job.command, work)
            except Exception as refusal:  # noqa: BLE001 - a command's failure is its own answer, never the group's
                work.discard()
                refused[job] = refusal
            else:
                work.commit()
                answers = tuple(work.answers)
                decided.append(Decided(job, aggregate.id, aggregate.version, first, len(staging.staged), answers))
        return staging, decided, refused

    def _commit(self, staging: _Staging, decided: Sequence[Decided]) -> dict[Job, Outcome]:
        receipts: dict[Job, Outcome] = {}

        def replies(positions: Sequence[int]) -> Iterable[Statement]:
            receipts.update({d.job: self._receipt(d, staging.staged, positions) for d in decided})
            kept = [d.job.order for d in decided if d.last > d.first or d.job.order.client_given]
            if kept:
                jobs = {d.job.order.id: d.job for d in decided}
                yield Statement(
                    "INSERT INTO replies (command_id, fingerprint, receipt)"
                    " SELECT * FROM unnest(%b::uuid[], %b::bytea[], %b::bytea[])",
                    (
                        [order.id for order in kept],
                        [order.fingerprint for order in kept],
                        [_write_receipt(receipts[jobs[order.id]]) for order in kept],
                    ),
                )

        self._append(staging, after=replies)
        return receipts

    def _receipt(self, decided: Decided, staged: Sequence[Recorded[Event]], positions: Sequence[int]) -> Receipt:
        last: dict[int, int] = {}
        for index in range(decided.first, decided.last):
            if staged[index].data.public:
                last[partition_of(staged[index].subject, self._topic.partitions)] = positions[index]
        tokens = tuple(f"{self._topic.name}/{partition}@{position}" for partition, position in sorted(last.items()))
        return Receipt(decided.id, decided.version, tokens + decided.answers)

    # -- policy batches

    def transaction(self, decide: Decision) -> None:
        """Store what `decide` stages with its guards; decided again after a version conflict, at most three times.

        Raises GuardFailedError when somebody else has moved the policy's cursor, and Unavailable or TooLarge when an
        event cannot be stored: then nothing of the batch is.
        """
        for attempt in range(1, GROUP_ATTEMPTS + 1):
            staging = self.staging()
            guards = decide(staging)
            try:
                self._append(staging, guards=guards)
            except UnstorableError as unstorable:
                raise unstorable.refusal from unstorable
            except IntegrityError:
                if attempt == GROUP_ATTEMPTS:
                    raise
            else:
                return

    # -- both

    def staging(self) -> "_Staging":
        return _Staging(self._store.histories, self._source, self._keys.as_of())

    def open(self, block: Sealed, kind: type[B]) -> B:
        """Open a block that this service sealed; raises KeyErased."""
        key = self._keys.known((block.subject,)).get(block.subject)
        if key is None or key.id != block.key:
            raise KeyErased.of_personal_data()
        return key.open(block, kind)

    def _append(
        self,
        staging: _Staging,
        *,
        guards: Sequence[Statement] = (),
        after: Callable[[Sequence[int]], Iterable[Statement]] = lambda _positions: (),
    ) -> None:
        """Seal and store what is staged. Writing nothing at all costs no transaction."""
        sealing = self._seal(staging)
        keys_as_of = staging.as_of if staging.relies_on_keys else sealing.keys_as_of

        def statements(positions: Sequence[int]) -> Iterable[Statement]:
            if sealing.assigned:
                yield self._keys.assignment(sealing.assigned)
            if staging.destroyed:
                yield from self._keys.destruction(staging.destroyed)
            yield from after(positions)

        if not sealing.events and not guards:
            # Only replies may be left, of commands that found nothing to do, and keys to destroy.
            late = list(statements(()))
            if late:
                self._store.store.append((), after=lambda _positions: late)
            self._forget_destroyed(staging)
            return
        try:
            self._store.store.append(sealing.events, guards=guards, after=statements, keys_as_of=keys_as_of)
        except (IntegrityError, GuardFailedError) as refusal:
            self._take_back(sealing, refusal)
            raise
        self._keys.remember(sealing.assigned, sealing.keys_as_of)
        self._forget_destroyed(staging)
        for name, count in Counter(type(recorded.data).__name__ for recorded in staging.staged).items():
            EVENTS_APPENDED.labels(event_type=name).inc(count)

    def _take_back(self, sealing: _Sealing, refusal: Exception) -> None:
        """Nothing was stored: the keys are free again, and what another process did to those subjects is looked up."""
        self._keys.back(sealing.assigned)
        if isinstance(refusal, KeysDestroyedError):
            self._keys.forget()
        elif isinstance(refusal, IntegrityError) and sealing.assigned and not self._keys.held:
            self._keys.known(sealing.assigned)

    def _forget_destroyed(self, staging: Staging) -> None:
        if staging.destroyed:
            KEYS_DESTROYED.inc(len(staging.destroyed))
            self._keys.forget()

    def _seal(self, staging: Staging) -> _Sealing:
        """The rows of what is staged: sealed, then linked to the event before, so that links are over ciphertext."""
        staged = staging.staged
        subjects = {r.data.data_subject(r.subject) for r in staged if r.data.personal is not None}
        as_of = self._keys.as_of() if subjects else None
        keys = self._known(staged, subjects)
        _refuse_erased(staging, keys)
        sealing = _Sealing([], as_of, self._assigned(staged, subjects - keys.keys()))
        keys |= sealing.assigned
        last: dict[UUID, bytes] = {}
        for index, recorded in enumerate(staged):
            previous = last.get(recorded.subject) or staging.last_state(recorded.subject)
            stored = self._store.write(_sealed(recorded, keys), previous)
            last[recorded.subject] = stored.state
            if len(stored.state) > MAX_STORED_EVENT_BYTES:
                self._keys.back(sealing.assigned)
                size = f"It would store an event of {len(stored.state)} bytes; {MAX_STORED_EVENT_BYTES} are taken."
                raise UnstorableError({index}, TooLarge(size))
            sealing.events.append(stored)
        return sealing

    def _known(self, staged: Sequence[Recorded[Event]], subjects: AbstractSet[UUID]) -> Keys:
        """The keys that these subjects have. Where that cannot be told, what is about them has to wait."""
        # Whose own stream begins here has no key yet: no fact about a person is stored before the person's first.
        beginning = subjects & {r.subject for r in staged if r.sequence == 1}
        keys = self._keys.cached(beginning)
        known = subjects - beginning
        if not known:
            return keys
        try:
            return keys | self._keys.known(known)
        except Unavailable as held:
            raise UnstorableError(_about(staged, known), held) from held

    def _assigned(self, staged: Sequence[Recorded[Event]], subjects: AbstractSet[UUID]) -> dict[UUID, SubjectKey]:
        """Keys for new subjects; where none can be had, only what is about new subjects has to wait."""
        try:
            return self._keys.assign(subjects)
        except Unavailable as away:
            raise UnstorableError(_about(staged, subjects), away) from away


def _about(staged: Sequence[Recorded[Event]], subjects: AbstractSet[UUID]) -> set[int]:
    """Which of the events hold personal data of these subjects."""
    return {
        index
        for index, r in enumerate(staged)
        if r.data.personal is not None and r.data.data_subject(r.subject) in subjects
    }


def _refuse_erased(staging: Staging, keys: Mapping[UUID, SubjectKey | None]) -> None:
    """Raises UnstorableError where something is to be sealed for a subject whose key is destroyed, or is being so."""
    erased = _about(staging.staged, {subject for subject, key in keys.items() if key is None})
    for subject, behind in staging.destroyed.items():
        erased |= {index for index in _about(staging.staged, {subject}) if index >= behind}
    if erased:
        refusal = KeyErased("The person's data is erased for good: nothing about that person can be recorded any more.")
        raise UnstorableError(erased, refusal)


def _culprits(decided: Iterable[Decided], indexes: AbstractSet[int]) -> list[Job]:
    return [d.job for d in decided if any(index in indexes for index in range(d.first, d.last))]


def _sealed(recorded: Recorded[Event], keys: Mapping[UUID, SubjectKey | None]) -> Recorded[Event]:
    block = recorded.data.personal
    if block is None:
        return recorded
    subject = recorded.data.data_subject(recorded.subject)
    key = keys[subject]
    assert key is not None  # noqa: S101 - such an event was refused before
    sealed = key.seal(block, event=recorded.id, subject=subject)
    return replace(recorded, data=recorded.data.with_personal(sealed))


def _answer(job: Job, fingerprint: bytes, outcome: Outcome) -> Outcome:
    """The outcome of an earlier command with the same id, if it was the same command."""
    if fingerprint != job.order.fingerprint:
        return KeyReused("This Idempotency-Key was used for another request; take a new key for a new command.")
    return outcome


def _write_receipt(receipt: Outcome) -> bytes:
    assert isinstance(receipt, Receipt)  # noqa: S101 - only receipts are kept
    return orjson.dumps({"id": str(receipt.id), "version": receipt.version, "positions": receipt.positions})


def _read_receipt(kept: bytes) -> Receipt:
    fields = orjson.loads(kept)
    return Receipt(UUID(fields["id"]), fields["version"], tuple(fields["positions"]))


def _label(outcome: Outcome) -> str:
    if isinstance(outcome, Receipt):
        return "accepted"
    return outcome.code if isinstance(outcome, Refusal) else "failed"
