"""What subscribers make of a topic in which relays repeat, strangers write, and records are missing or lost."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import uuid4

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.admin import RecordsToDelete
from door import Door
from libs.platform.tests.kafka_topics import (
    AUTHENTICATOR,
    administrator,
    as_record,
    create_topic,
    publish,
    recreate_topic,
)

from crm_events.contacts import Cause, PartyUnknown, UnknownReason
from crm_events.topics import Topic
from crm_gateway.subscriptions.cursors import LogCursor
from crm_gateway.subscriptions.event_filter import EventFilter
from crm_gateway.subscriptions.event_log import EventLog
from crm_gateway.subscriptions.log_feed import EventsGone, LogFeed
from crm_gateway.subscriptions.start import Start, log_start
from crm_platform.errors import Unavailable
from crm_platform.testing import SOME_TIME, recorded, story_id

NO_START = Start(None, {})


def unknown(sequence: int, topic: Topic, place: tuple[int, int]) -> ConsumerRecord:
    """An event of one stream: its sequence is its position, so that what is given can be told."""
    event = PartyUnknown(
        cause=Cause.LEAD, cause_id=story_id("a lead"), reason=UnknownReason.NOT_IDENTIFIED, occurred_at=SOME_TIME
    )
    return as_record(topic, 0, recorded(event, subject=story_id("answers"), sequence=sequence), place)


class Trial:
    """A topic with one partition, and a feed over it that goes on from its own cursors."""

    def __init__(self, bootstrap: str, topic: Topic, log: EventLog) -> None:
        self.bootstrap = bootstrap
        self.topic = topic
        self.log = log
        self.place = TopicPartition(topic.name, 0)

    async def publish(self, *positions: int, after: int | None = None) -> None:
        """As a relay does that goes on behind the position `after`, by default behind the one before."""
        before = positions[0] - 1 if after is None else after
        records = []
        for position in positions:
            records.append(unknown(position, self.topic, (position, before)))
            before = position
        await self.send(records)

    async def send(self, records: Sequence[ConsumerRecord]) -> None:
        await publish(self.bootstrap, records)

    async def start(self, start: Start = NO_START) -> LogCursor:
        return await log_start(self.log, [self.place], start)

    async def given(self, cursor: LogCursor, count: int, *, limit: int = 3) -> tuple[list[int], LogCursor]:
        """The positions of the next events, each page by a feed of its own; then nothing more comes."""
        found: list[int] = []
        quiet = 0
        while len(found) < count or quiet < 2:
            feed = LogFeed(self.log, EventFilter(), [self.place], cursor)
            try:
                events = await feed.next(limit)
            except Unavailable:
                continue  # as a client does that is told to come back
            found += [int(event.document.split(b'"sequence":"')[1].split(b'"')[0]) for event in events]
            behind = events[-1].cursor if events and feed.more else feed.cursor
            assert isinstance(behind, LogCursor)
            cursor = behind
            quiet = 0 if events else quiet + 1
            if not events:
                await feed.wait(0.2)
        return found, cursor


@pytest.fixture
async def trial(crm: Door) -> AsyncIterator[Trial]:
    async with _trial(crm.stack.addresses.kafka_bootstrap) as made:
        yield made


@asynccontextmanager
async def _trial(bootstrap: str) -> AsyncIterator[Trial]:
    topic = Topic(f"t.{uuid4().hex}", partitions=1)
    await create_topic(bootstrap, topic)
    log = EventLog(bootstrap, (topic,), AUTHENTICATOR)
    running = asyncio.create_task(log.run())
    try:
        async with asyncio.timeout(60):
            yield Trial(bootstrap, topic, log)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_what_a_relay_repeats_comes_once(trial: Trial) -> None:
    await trial.publish(1, 2, 3)
    await trial.publish(2, 3, 4)
    first, cursor = await trial.given(await trial.start(), 4)
    await trial.publish(3, 4, 5)
    await trial.publish(1, 2, 3, 4, 5, 6, after=0)
    second, _ = await trial.given(cursor, 2)
    assert (first, second) == ([1, 2, 3, 4], [5, 6])


async def test_what_no_relay_of_ours_wrote_is_never_passed_on(trial: Trial) -> None:
    await trial.publish(1)
    forged = unknown(2, trial.topic, (2, 1))
    await trial.send([replace(forged, value=b'{"type": "crm.contacts.PartyUnknown.v1"}'), replace(forged, headers=[])])
    cursor = await trial.start()
    assert (await trial.given(cursor, 1))[0] == [1]
    await trial.publish(2)
    assert (await trial.given(cursor, 2))[0] == [1, 2]


async def test_behind_a_missing_event_nothing_comes_until_it_is_published_again(trial: Trial) -> None:
    await trial.publish(1, 2)
    await trial.publish(4, 5, after=3)
    found, cursor = await trial.given(await trial.start(), 2)
    assert found == [1, 2]
    await trial.publish(6)
    assert (await trial.given(cursor, 0))[0] == []
    await trial.publish(3, 4, 5, 6)
    assert (await trial.given(cursor, 4))[0] == [3, 4, 5, 6]


async def test_a_partition_that_lost_its_end_and_was_filled_again_is_read_from_where_it_was_filled(
    trial: Trial,
) -> None:
    await trial.publish(*range(1, 11))
    _, cursor = await trial.given(await trial.start(), 10)
    await recreate_topic(trial.bootstrap, trial.topic)
    await trial.publish(*range(1, 31))
    assert (await trial.given(cursor, 20))[0] == list(range(11, 31))


async def test_a_cursor_whose_events_are_kept_no_longer_is_refused_with_where_to_begin(trial: Trial) -> None:
    await trial.publish(*range(1, 201))
    start = await trial.start()
    _, cursor = await trial.given(start, 5, limit=200)
    async with administrator(trial.bootstrap) as admin:
        await admin.delete_records({trial.place: RecordsToDelete(100)})
    await _fill_the_window(trial)
    with pytest.raises(EventsGone, match=r"from=2026-03-02T09:30:00\.000Z"):
        await LogFeed(trial.log, EventFilter(), [trial.place], start).next(10)
    assert (await trial.given(cursor, 0))[0] != [], "who has passed them goes on"
    anew, _ = await trial.given(await trial.start(), 100, limit=200)
    assert anew[0] == 101


async def _fill_the_window(trial: Trial) -> None:
    """So much that the newest records, which are kept in memory, are others."""
    await trial.publish(*range(201, 1_001))


async def test_a_position_is_found_however_far_back_it_is(trial: Trial) -> None:
    await trial.publish(*range(1, 1_501))
    await trial.publish(*range(1_400, 1_601), after=1_399)
    for position in (0, 1, 99, 700, 1_399, 1_450, 1_599):
        start = await trial.start(Start(None, {trial.place: position}))
        found, _ = await trial.given(start, 1_600 - position, limit=200)
        assert found == list(range(position + 1, 1_601)), position
