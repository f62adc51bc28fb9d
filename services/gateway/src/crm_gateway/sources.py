"""How fresh the view is: what it has applied, beside what its topics held a few seconds ago."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from crm_events.topics import CONTACTS, MARKETING, SALES, SERVICE, Topic
from crm_gateway.answers import SectionFreshness
from crm_platform import kafka
from crm_platform.backoff import Backoff
from crm_platform.cursor import Cursor, Cursors
from crm_platform.logging import get_logger
from crm_platform.read_model import ReadModel

SECTIONS: Mapping[str, Topic] = {
    "profile": CONTACTS,
    "timeline": CONTACTS,
    "totals": CONTACTS,
    "leads": SALES,
    "opportunities": SALES,
    "tickets": SERVICE,
    "campaigns": MARKETING,
}
"""Each section of the view, and the topic that it comes from."""

CURSORS_KEPT_SECONDS = 0.25
"""Cursors read this long ago still tell the truth: what they passed is applied."""
STALE_AFTER_SECONDS = 5.0
"""What a topic held this long ago should have been applied."""
LOOK_EVERY_SECONDS = 1.0

Ends = Mapping[TopicPartition, int]

log = get_logger(__name__)


class _Applied(NamedTuple):
    """What the cursors of one topic say, as of when they were read."""

    topic: str
    position: dict[str, int]
    newest: datetime | None
    stale: bool


class Sources:
    """Looks every second how far the topics reach, so that the view can say when it lags behind."""

    name = "sources"
    ready = True
    alive = True

    def __init__(self, bootstrap: str, topics: Sequence[Topic]) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._looks: deque[tuple[float, Ends]] = deque()
        self._applied: dict[str, _Applied] = {}
        self._read_at = float("-inf")

    async def run(self) -> None:
        """Look for ever; while Kafka is away nothing is known, and the view says that it may be stale."""
        backoff = Backoff(most=LOOK_EVERY_SECONDS)
        while True:
            try:
                async with kafka.reader(self._bootstrap) as client:
                    await self._keep_looking(client, backoff)
            except kafka.TRANSIENT as away:
                log.warning("the topics cannot be looked at", err_type=type(away).__name__)
                await backoff.wait()

    async def _keep_looking(self, client: AIOKafkaConsumer, backoff: Backoff) -> None:
        while True:
            ends: dict[TopicPartition, int] = {}
            for topic in self._topics:
                reached = await kafka.end_offsets(client, topic.name, topic.partitions)
                ends |= {TopicPartition(topic.name, partition): end for partition, end in reached.items()}
            self._looked(monotonic(), ends)
            backoff.succeeded()
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    def _looked(self, at: float, ends: Ends) -> None:
        """Keep what was seen from the last look that is old enough on."""
        self._looks.append((at, ends))
        while len(self._looks) > 1 and at - self._looks[1][0] >= STALE_AFTER_SECONDS:
            self._looks.popleft()

    async def freshness(self, customers: ReadModel, *, anew: bool) -> dict[str, SectionFreshness]:
        """Of each section: what its source's cursors have applied, and whether that is all there was 5 s ago."""
        if anew or monotonic() - self._read_at > CURSORS_KEPT_SECONDS:
            read_at, cursors = monotonic(), await customers.cursors()
            due = self._due()
            self._applied = {topic.name: _applied(topic, cursors, due) for topic in self._topics}
            self._read_at = read_at
        now = datetime.now(UTC)
        by_topic = {name: _freshness(applied, now) for name, applied in self._applied.items()}
        return {section: by_topic[topic.name] for section, topic in SECTIONS.items()}

    def _due(self) -> Ends | None:
        """How far the topics reached 5 s ago (at first: at the first look); None when that is not known."""
        if not self._looks or monotonic() - self._looks[-1][0] > STALE_AFTER_SECONDS:
            return None
        return self._looks[0][1]


def _applied(topic: Topic, cursors: Cursors, due: Ends | None) -> _Applied:
    nowhere = Cursor()
    places = [TopicPartition(topic.name, partition) for partition in range(topic.partitions)]
    mine = [(place, cursors.get(place, nowhere)) for place in places]
    return _Applied(
        topic.name,
        {str(place.partition): cursor.position for place, cursor in mine},
        max((cursor.recorded_at for _, cursor in mine if cursor.recorded_at), default=None),
        due is None or any(cursor.gap is not None or cursor.next_offset < due[place] for place, cursor in mine),
    )


def _freshness(applied: _Applied, now: datetime) -> SectionFreshness:
    newest = applied.newest
    return {
        "topic": applied.topic,
        "position": applied.position,
        "age_seconds": None if newest is None else max(0.0, (now - newest).total_seconds()),
        "stale": applied.stale,
    }
