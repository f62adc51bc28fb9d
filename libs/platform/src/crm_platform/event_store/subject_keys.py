"""The keys that this service seals with: one per data subject, published before they are used (docs/adr/0005).

Keys are published ahead of need and not yet given to anybody, so that a command waits for no broker and is accepted
while Kafka is away. Giving one to a subject is a row in the transaction that stores the subject's first event.
"""

import threading
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Protocol
from uuid import UUID

from cachetools import LRUCache
from psycopg.sql import SQL

from crm_platform.event_store.recorder import Recorder, Statement
from crm_platform.sealing import InstallationKey, SubjectKey

CACHED_KEYS = 20_000


class KeyPool(Protocol):
    """Keys that crm.keys holds and no subject has."""

    def take(self, count: int) -> list[SubjectKey]:
        """That many published keys; may block until they are acknowledged. Raises Unavailable."""
        ...


class SubjectKeys:
    """Look-up and assignment of keys, for the writer thread and for those who open blocks of this service."""

    def __init__(self, recorder: Recorder, installation: InstallationKey, pool: KeyPool) -> None:
        self._recorder = recorder
        self._installation = installation
        self._pool = pool
        self._lock = threading.Lock()
        self._by_subject: LRUCache[UUID, SubjectKey] = LRUCache(CACHED_KEYS)
        self._spare: deque[SubjectKey] = deque()

    def known(self, subjects: Iterable[UUID]) -> dict[UUID, SubjectKey]:
        """The keys of those subjects that have one."""
        with self._lock:
            keys = {subject: key for subject in subjects if (key := self._by_subject.get(subject))}
        missing = [subject for subject in subjects if subject not in keys]
        if missing:
            keys |= self._select(missing)
        return keys

    def _select(self, subjects: list[UUID]) -> dict[UUID, SubjectKey]:
        rows = self._recorder.fetched(
            SQL("SELECT subject, key, wrapped FROM subject_keys WHERE subject = ANY(%b)"), (subjects,)
        )
        found = {subject: self._installation.unwrap(key, wrapped) for subject, key, wrapped in rows}
        self.remember(found)
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

    def remember(self, keys: Mapping[UUID, SubjectKey]) -> None:
        """The assignment is stored."""
        with self._lock:
            self._by_subject.update(keys)
