"""The keys that this service seals with: one per data subject, published before they are used (docs/adr/0005).

Keys are published ahead of need and not yet given to anybody, so that a command waits for no broker and is accepted
while Kafka is away. Giving one to a subject is a row in the transaction that stores the subject's first event, and
destroying it a change of that row (docs/adr/0019).
"""

import threading
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from typing import Protocol
from uuid import UUID

from cachetools import LRUCache
from psycopg.sql import SQL

from crm_platform.errors import Unavailable
from crm_platform.event_store.key_ledger import destruction
from crm_platform.event_store.recorder import Destructions, Recorder, Statement
from crm_platform.sealing import InstallationKey, SubjectKey

CACHED_KEYS = 20_000

Keys = dict[UUID, SubjectKey | None]
"""By data subject; None for one whose key is destroyed."""


class KeyPool(Protocol):
    """Keys that crm.keys holds and no subject has."""

    def take(self, count: int) -> list[SubjectKey]:
        """That many published keys; may block until they are acknowledged. Raises Unavailable."""
        ...


class SubjectKeys:
    """Look-up, assignment and destruction of keys, for the writer thread and for those who open this service's blocks.

    What is cached was looked up at the time of `as_of` or later. Who stores what is sealed with it says so, and is
    refused when any process has destroyed a key since then.
    """

    def __init__(self, recorder: Recorder, installation: InstallationKey, pool: KeyPool) -> None:
        self._recorder = recorder
        self._installation = installation
        self._pool = pool
        self._lock = threading.Lock()
        self._by_subject: LRUCache[UUID, SubjectKey | None] = LRUCache(CACHED_KEYS)
        self._as_of: Destructions | None = None
        self._spare: deque[SubjectKey] = deque()
        self._held = False

    def hold(self) -> None:
        """From now on no stored key is given out, until `release`: it may be one that a backup has brought back."""
        self._held = True

    def release(self) -> None:
        self.forget()
        self._held = False

    @property
    def held(self) -> bool:
        return self._held

    def as_of(self) -> Destructions:
        """A time before anything that is cached was looked up."""
        with self._lock:
            as_of = self._as_of
        if as_of is None:
            as_of = self._recorder.destructions()
            with self._lock:
                self._as_of = self._as_of or as_of
                as_of = self._as_of
        return as_of

    def known(self, subjects: Iterable[UUID]) -> Keys:
        """The keys of those subjects that have or had one. Raises Unavailable while keys are held."""
        if self._held:
            raise Unavailable("The service has not compared its keys with the destroyed ones yet.")
        wanted = list(subjects)
        keys = self.cached(wanted)
        missing = [subject for subject in wanted if subject not in keys]
        return keys | self._select(missing) if missing else keys

    def cached(self, subjects: Iterable[UUID]) -> Keys:
        """Like `known`, as far as it can be told without asking the database."""
        with self._lock:
            return {subject: self._by_subject[subject] for subject in subjects if subject in self._by_subject}

    def _select(self, subjects: list[UUID]) -> Keys:
        as_of = self.as_of()
        rows = self._recorder.fetched(
            SQL("SELECT subject, key, wrapped FROM subject_keys WHERE subject = ANY(%b)"), (subjects,)
        )
        found = {
            subject: None if wrapped is None else self._installation.unwrap(key, wrapped)
            for subject, key, wrapped in rows
        }
        self.remember(found, as_of)
        return found

    def assign(self, subjects: Iterable[UUID]) -> dict[UUID, SubjectKey]:
        """A published key for each subject that has none; to be stored with `assignment`, else given `back`."""
        wanted = list(subjects)
        while len(self._spare) < len(wanted):
            self._spare.extend(self._pool.take(len(wanted) - len(self._spare)))
        return {subject: self._spare.popleft() for subject in wanted}

    def back(self, keys: Mapping[UUID, SubjectKey]) -> None:
        """The transaction was surely not stored: the keys are free again."""
        self._spare.extend(keys.values())

    def assignment(self, keys: Mapping[UUID, SubjectKey]) -> Statement:
        """The rows that give these keys to their subjects."""
        return Statement(
            "INSERT INTO subject_keys SELECT * FROM unnest(%b::uuid[], %b::uuid[], %b::bytea[])",
            (
                list(keys),
                [key.id for key in keys.values()],
                [self._installation.wrap(key) for key in keys.values()],
            ),
        )

    def destruction(self, subjects: Iterable[UUID]) -> Iterable[Statement]:
        """What destroys the keys of these subjects; `forget` once it is stored."""
        return destruction(subjects)

    def remember(self, keys: Mapping[UUID, SubjectKey | None], as_of: Destructions | None) -> None:
        """These keys were stored at that time or later; not cached where somebody has made us forget since then."""
        with self._lock:
            if self._as_of == as_of:
                self._by_subject.update(keys)

    def forget(self) -> None:
        """Keys were destroyed: what is needed is looked up again."""
        with self._lock:
            self._by_subject.clear()
            self._as_of = None

    def forget_keys(self, keys: Collection[UUID]) -> None:
        """These keys were destroyed, here or elsewhere: nothing is opened with them any more."""
        with self._lock:
            gone = [subject for subject, key in self._by_subject.items() if key is not None and key.id in keys]
            for subject in gone:
                del self._by_subject[subject]
