"""The platform's own parts as the benchmarks run them: constructed here and nowhere else."""

import time
from collections.abc import Sequence
from typing import Any

from aiokafka import ConsumerRecord

from crm_events import REGISTRY
from crm_events.topics import Topic
from crm_platform import mongo
from crm_platform.authenticity import Authenticator
from crm_platform.delivery import Progress
from crm_platform.event_store.application import EventStore
from crm_platform.inbound import RecordReader
from crm_platform.projection import Projection
from crm_platform.projector import Projector
from crm_platform.relay import Relay
from crm_platform.sealing import InstallationKey
from crm_platform.wakeup import Wakeup

AUTHENTICATOR = Authenticator(InstallationKey(b"b" * 32))
"""Relay and readers of a benchmark share a key of their own."""


def open_store(postgres_uri: str) -> EventStore:
    return EventStore(postgres_uri, REGISTRY)


def relay(store: EventStore, postgres_uri: str, bootstrap: str, topic: Topic) -> Relay:
    return Relay(store, postgres_uri, bootstrap, topic, AUTHENTICATOR)


def reader(projection: Projection) -> RecordReader:
    return RecordReader(REGISTRY, projection.folds, AUTHENTICATOR)


class TimedProjector(Projector):
    """A projector that knows how much it has applied, and since when: joining its group is not counted."""

    def __init__(self, projection: Projection, database: mongo.Database, bootstrap: str) -> None:
        super().__init__(projection, REGISTRY, database, AUTHENTICATOR, bootstrap, "0", Wakeup())
        self.records = 0
        self._began: float | None = None
        self._ended = 0.0

    @property
    def seconds(self) -> float:
        """From the first batch as read to the last one as committed."""
        return 0.0 if self._began is None else self._ended - self._began

    async def apply(self, records: Sequence[ConsumerRecord], *rest: Any, **named: Any) -> Progress:
        if self._began is None:
            self._began = time.perf_counter()
        progress = await super().apply(records, *rest, **named)
        self._ended = time.perf_counter()
        self.records += len(records)
        return progress
