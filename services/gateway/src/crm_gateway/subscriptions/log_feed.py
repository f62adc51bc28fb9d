"""Everybody's events, out of the topics: each once, in the order of its stream (docs/adr/0018)."""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from time import monotonic, time

import orjson
from aiokafka import TopicPartition
from msgspec.structs import replace

from crm_events.event import written
from crm_gateway.subscriptions.cursors import UNKNOWN, LogCursor, Standing, by_place, by_topic
from crm_gateway.subscriptions.event_filter import EventFilter
from crm_gateway.subscriptions.event_log import EventLog, EventsLostError, Published, Stretch
from crm_gateway.subscriptions.given import Given
from crm_platform.cursor import Arrival, Cursor, arrival
from crm_platform.errors import Refusal, Unavailable
from crm_platform.inbound import Link

SEARCH_SECONDS = 1.0
"""A rare type is looked for so long before the answer is that it was not found yet."""
READ_AT_ONCE = 100
MOST_BYTES = 1024 * 1024


class EventsGone(Refusal):
    status, code, title = 410, "events-gone", "The events are kept no longer"


class LogFeed:
    """The events of a filter without a customer, from a cursor on."""

    def __init__(self, log: EventLog, asked: EventFilter, places: Sequence[TopicPartition], cursor: LogCursor) -> None:
        self._log = log
        self._asked = asked
        self._since = cursor.since
        kept = by_place(cursor.partitions)
        self._standings = {place: kept.get(place, Standing()) for place in places}
        self._looked_back: dict[TopicPartition, int] = {}

    @property
    def cursor(self) -> LogCursor:
        return LogCursor(by_topic(self._standings), self._since)

    @property
    def more(self) -> bool:
        return bool(self._behind())

    async def wait(self, seconds: float) -> None:
        if not self._behind():
            await self._log.wait(seconds)

    async def next(self, limit: int) -> list[Given]:
        await self._log.following()
        self._step_back_to_ends()
        given: list[Given] = []
        until = monotonic() + SEARCH_SECONDS
        while len(given) < limit and monotonic() < until and (behind := self._behind()):
            try:
                if await self._read(behind, limit, given):
                    break
            except Unavailable:
                if not given:
                    raise
                break  # what was found is given; the next call tells
        return given

    async def _read(self, behind: Mapping[TopicPartition, int], limit: int, given: list[Given]) -> bool:
        try:
            stretches = await self._log.read(behind, max(limit, READ_AT_ONCE))
        except EventsLostError as lost:
            if given:
                return True
            raise await self._gone(lost) from None
        return await self._take(stretches, limit, MOST_BYTES - sum(len(each.document) for each in given), given)

    def _behind(self) -> dict[TopicPartition, int]:
        """The partitions that have more, and where to go on."""
        return {
            place: standing.next_offset
            for place, standing in self._standings.items()
            if standing.next_offset < self._log.end(place)
        }

    def _step_back_to_ends(self) -> None:
        """A partition that lost its end is followed from where it ends now; what is published again is known by its
        position.
        """
        for place, standing in self._standings.items():
            if standing.next_offset > (end := self._log.end(place)) and standing.position != UNKNOWN:
                self._standings[place] = replace(standing, next_offset=end)

    async def _take(
        self, stretches: Mapping[TopicPartition, Stretch], limit: int, room: int, given: list[Given]
    ) -> bool:
        """Go through records as they were published; returns whether enough is given."""
        set_back: set[TopicPartition] = set()
        for place, record in _merged(stretches):
            if place in set_back:
                continue
            if self._is_gap(place, record) and self._looked_back.get(place) != self._standings[place].position:
                await self._look_back(place)
                set_back.add(place)
                continue
            if self._is_given(place, record):
                given.append(Given(place.topic, record.type_name, record.value, self.cursor))
                room -= len(record.value)
                if len(given) == limit or room <= 0:
                    return True
        for place, stretch in stretches.items():
            if place not in set_back:
                self._standings[place] = replace(self._standings[place], next_offset=stretch.next_offset)
        return False

    def _is_gap(self, place: TopicPartition, record: Published) -> bool:
        standing = self._standings[place]
        return (
            record.link is not None and standing.position != UNKNOWN and _arrival(standing, record.link) is Arrival.GAP
        )

    def _is_given(self, place: TopicPartition, record: Published) -> bool:
        """Step behind the record; whether it is an event that is asked for and was not given yet."""
        before = self._standings[place]
        after = replace(before, next_offset=record.offset + 1)
        link, is_next = record.link, False
        if link is not None:
            is_next = before.position == UNKNOWN or _arrival(before, link) is Arrival.NEXT
            if is_next:
                after = replace(after, position=link.position)
        self._standings[place] = after
        return is_next and self._asked.passes(record.type_name) and self._is_recent(record)

    def _is_recent(self, record: Published) -> bool:
        return self._since is None or recorded_at(record.value) >= self._since

    async def _look_back(self, place: TopicPartition) -> None:
        """An event is missing before this record. A partition that lost its end and was filled again has it further
        back; else it is awaited, and what follows is passed over until a relay publishes it again, in order.
        """
        position = self._standings[place].position
        self._looked_back[place] = position
        offset = await self._log.offset_after(place, position)
        self._standings[place] = Standing(offset, position)

    async def _gone(self, lost: EventsLostError) -> EventsGone:
        kept: Mapping[TopicPartition, Stretch] = {}
        if lost.beginning < self._log.end(lost.place):
            kept = await self._log.read({lost.place: lost.beginning}, 1)
        first = next((record for stretch in kept.values() for record in stretch.records if record.link), None)
        since = datetime.fromtimestamp(recorded_at(first.value) / 1000 if first else time(), UTC)
        return EventsGone(
            f"{lost.place.topic}/{lost.place.partition} no longer holds the events that follow the cursor. Begin anew"
            f" without `after`, with from={written(since)} or later; what was recorded there before that is gone."
        )


def recorded_at(document: bytes) -> int:
    """When an event was recorded, in milliseconds since 1970."""
    return int(datetime.fromisoformat(orjson.loads(document)["time"]).timestamp() * 1000)


def _arrival(standing: Standing, link: Link) -> Arrival:
    return arrival(Cursor(position=standing.position), link.position, link.previous)


def _merged(stretches: Mapping[TopicPartition, Stretch]) -> Iterator[tuple[TopicPartition, Published]]:
    """All records, each partition's in its order, by when they were published between partitions."""
    runs = [[(place, record) for record in stretch.records] for place, stretch in stretches.items()]
    return heapq.merge(*runs, key=lambda found: found[1].timestamp)
