"""The loop under every projection and policy: batches of records, from our own cursors, with nothing skipped.

On restart and after every rebalance a consumer seeks to its own cursor, never to the group's committed offset
(docs/adr/0004). What comes of a batch and where it stands are stored together; a batch that cannot be stored is cut in
two until the one event is found that must be parked (docs/adr/0011).
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterable, Sequence
from time import monotonic
from time import time as wall_clock
from typing import Any, ClassVar

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError
from msgspec.structs import replace

from crm_events.topics import MAX_MESSAGE_BYTES, Topic
from crm_platform import kafka
from crm_platform.backoff import Backoff
from crm_platform.cursor import Cursor, CursorMovedError
from crm_platform.delivery import Progress, Standing, Tally, place_of
from crm_platform.event_tracing import NOT_TRACED, processing
from crm_platform.finishing import is_told_to_end, to_its_end
from crm_platform.lag import Lag, Watchdog
from crm_platform.logging import get_logger
from crm_platform.look_back import LookBack
from crm_platform.metrics import (
    CONSUMER_BATCH_SECONDS,
    CONSUMER_BATCHES,
    CONSUMER_LAG,
    CONSUMER_LAG_SECONDS,
    CONSUMER_STUCK,
    DEPENDENCY_UP,
    EVENT_AGE,
    EVENTS_CONSUMED,
    GAPS,
    PARKED_EVENTS,
    PARKED_KEYS,
    PARKED_OLDEST_SECONDS,
    PROJECTION_AGE,
    REBALANCES,
    RECORDS_LOST,
    UNKNOWN_EVENTS,
)
from crm_platform.parking import LotSize
from crm_platform.watching import watching

BATCH_RECORDS = 2_000
BATCH_BYTES = 4 * 1024 * 1024
SLOW_BATCH_SECONDS = 1.0
"""A batch that takes longer makes the next one smaller, so that a slow store never looks like one that stands."""
SMALL_BATCH_RECORDS = 100
MOST_REST_SECONDS = 0.05
SAVE_SECONDS = 0.5
POLL_MILLISECONDS = 500
FRESH_MILLISECONDS = 10
SESSION_MILLISECONDS = 20_000
MAX_POLL_MILLISECONDS = 300_000
LOOK_SECONDS = 2.0
ANSWER_SECONDS = 3.0
SILENT_LOOKS = 3
"""A client that leaves so many looks in a row unanswered, while the broker answers a new one, is given up."""

log = get_logger(__name__)


class CannotStoreError(Exception):
    """The store refuses what came of a batch, and trying again will not help. The message holds no values."""


class Consumer(ConsumerRebalanceListener, ABC):  # type: ignore[misc] # aiokafka's base class is untyped
    """A named reader of topics; subclasses say what a batch does and where that is stored."""

    transient: ClassVar[tuple[type[Exception], ...]] = kafka.TRANSIENT
    stored_in: ClassVar[str] = "mongodb"

    def __init__(self, name: str, topics: tuple[Topic, ...], bootstrap: str, instance: str) -> None:
        self.name = name
        self.topics = topics
        self._bootstrap = bootstrap
        self._instance = instance
        self._client: AIOKafkaConsumer | None = None
        self._consuming: asyncio.Timeout
        self._unanswered_looks = 0
        self._standing = Standing()
        self._goals: dict[TopicPartition, int] | None = None
        self._beginnings: dict[TopicPartition, int] = {}
        self._look_backs: dict[TopicPartition, LookBack] = {}
        self._not_sought: Exception | None = None
        self._batch_records = BATCH_RECORDS
        self._records_in_hand = False
        self._batch_seconds = 0.0
        self._saved_at = 0.0
        self._tracing = NOT_TRACED
        self._lag = Lag()
        self._watchdog = Watchdog(monotonic())
        self.alive = True
        self.ready = False

    @abstractmethod
    async def prepare(self) -> None:
        """Make ready what the results are written to."""

    @abstractmethod
    async def standing(self, places: Iterable[TopicPartition]) -> Standing:
        """The stored cursors of those partitions that have one, and the keys that are parked in them."""

    @abstractmethod
    async def apply(
        self, records: Sequence[ConsumerRecord], standing: Standing, because: str | None = None
    ) -> Progress:
        """Apply a batch effectively once: results, parked events and cursors in one transaction.

        One without effect may be deferred, but for an empty one, which stores what was.

        `because` parks what the batch holds, for that reason. Raises CursorMovedError, and CannotStoreError.
        """

    @abstractmethod
    async def lot_size(self) -> LotSize:
        """How much this consumer has parked: asked every two seconds, also as a sign of life of the store."""

    async def run(self) -> None:
        """Consume for ever. What is away is waited for, with jittered back-off."""
        backoff = Backoff()
        async with watching(self.name, self._look, LOOK_SECONDS):
            while True:
                try:
                    await self.prepare()
                    async with asyncio.timeout(None) as self._consuming:
                        await self._consume(backoff)
                except asyncio.CancelledError as failure:
                    if is_told_to_end():
                        raise
                    await self._interrupted(failure, backoff)
                except self.transient as failure:
                    await self._interrupted(failure, backoff)

    async def _interrupted(self, failure: BaseException, backoff: Backoff) -> None:
        log.warning("consumer_interrupted", consumer=self.name, exc_info=failure)
        await backoff.wait()

    async def _consume(self, backoff: Backoff) -> None:
        client = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=self.name,
            group_instance_id=f"{self.name}-{self._instance}",
            client_id=f"{self.name}-{self._instance}",
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            **kafka.CONNECTION,
            # What is fetched ahead is bounded by these, however far producers are ahead.
            fetch_max_bytes=BATCH_BYTES,
            max_partition_fetch_bytes=MAX_MESSAGE_BYTES,
            session_timeout_ms=SESSION_MILLISECONDS,
            max_poll_interval_ms=MAX_POLL_MILLISECONDS,
        )
        client.subscribe([topic.name for topic in self.topics], listener=self)
        self._client = client
        self._not_sought = None
        self._records_in_hand = False
        try:
            await client.start()
            while True:
                records = await self._polled(client)
                if self._not_sought is not None:
                    raise self._not_sought
                await to_its_end(self._work_on(records))
                await self._rest(len(records))
                backoff.succeeded()
        finally:
            self._client = None
            await kafka.stopped(client)

    async def _rest(self, records: int) -> None:
        """After a small batch, rest half as long as it took: what comes in meanwhile is the next one, for little more.

        Else a steady trickle would be written event by event, and each costs a transaction.
        """
        if 0 < records < SMALL_BATCH_RECORDS:
            await asyncio.sleep(min(MOST_REST_SECONDS, self._batch_seconds / 2))

    async def _polled(self, client: AIOKafkaConsumer) -> list[ConsumerRecord]:
        """The next records. There are none while our cursors are being read after a rebalance.

        Meanwhile aiokafka looks for an offset that the group committed, finds none, and says so: nobody needs it here.
        """
        records: list[ConsumerRecord] = []
        try:
            records += await self._fetched(client, POLL_MILLISECONDS)
            if 0 < len(records) < SMALL_BATCH_RECORDS:
                # aiokafka asked for these when the last batch was taken, and asks for what came since only now.
                records += await self._fetched(client, FRESH_MILLISECONDS)
        except NoOffsetForPartitionError:
            return records
        except OffsetOutOfRangeError:
            await self._seek_again()
            return []
        return records

    async def _fetched(self, client: AIOKafkaConsumer, milliseconds: int) -> list[ConsumerRecord]:
        batches = await client.getmany(timeout_ms=milliseconds, max_records=self._batch_records)
        self._records_in_hand |= bool(batches)
        return [record for records in batches.values() for record in records]

    # -- rebalances: called by aiokafka between polls

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002 - all are
        """Nothing to hand over: the cursor is stored with every batch, and its guard fences a late write."""
        self._standing = Standing()
        self._lag.assigned(set())

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        places = set(assigned)
        REBALANCES.labels(consumer=self.name).inc()
        self._standing = Standing()
        self._lag.assigned(places)
        self._look_backs = {place: LookBack() for place in places}
        self._forget_all_but(places)
        try:
            self._goals = await self._seek_to_cursors(places)
        except Exception as failure:  # noqa: BLE001 - aiokafka would log it and read on from anywhere
            self._not_sought = failure

    async def _seek_to_cursors(self, places: set[TopicPartition]) -> dict[TopicPartition, int]:
        """Read the stored cursors and go there; returns where the partitions end.

        A partition without a cursor is read from its beginning. So is one that ends before its cursor: it was made
        anew, and what is published there again is known by its position. And so is one that begins behind its cursor:
        records are lost, which is told; in a domain topic they leave a gap until the relay publishes them again.
        """
        assert self._client is not None  # noqa: S101 - called while consuming only
        left = self._standing
        standing = await self.standing(places)
        beginnings = await self._client.beginning_offsets(list(places))
        ends: dict[TopicPartition, int] = await self._client.end_offsets(list(places))
        if self._standing is not left:
            return ends  # a rebalance came meanwhile, and with it other partitions to go to
        for place in places:
            cursor = standing.cursors.setdefault(place, Cursor(next_offset=beginnings[place]))
            if cursor.next_offset > ends[place]:
                # Made anew: its offsets are given again, to other records.
                cursor = standing.cursors[place] = replace(cursor, read_to=0)
            self._client.seek(place, self._start(place, cursor, beginnings[place], ends[place]))
        self._standing, self._beginnings = standing, beginnings
        return ends

    async def _seek_again(self) -> None:
        """Go to the stored cursors, unless a rebalance, which called for this, is about to do it."""
        if self._standing.cursors:
            await self._seek_to_cursors(set(self._standing.cursors))

    def _start(self, place: TopicPartition, cursor: Cursor, beginning: int, end: int) -> int:
        lost = cursor.next_offset < beginning
        RECORDS_LOST.labels(consumer=self.name, topic=place.topic, partition=place.partition).set(lost)
        if lost:
            log.error(
                "records_lost", consumer=self.name, place=str(place), cursor=cursor.next_offset, beginning=beginning
            )
            return beginning
        if cursor.next_offset > end:
            log.error("partition_shorter_than_cursor", consumer=self.name, place=str(place), end=end)
            return beginning
        # A gap that was open when we left is looked into again.
        start = self._look_backs[place].start(cursor, beginning)
        return cursor.next_offset if start is None else start

    # -- batches

    async def _work_on(self, records: Sequence[ConsumerRecord]) -> None:
        try:
            await self._take(records)
            await self._save_now_and_then()
        finally:
            self._records_in_hand = False
        self._see_whether_caught_up()

    async def _save_now_and_then(self) -> None:
        """Store cursors that wait for a batch with an effect, so that a restart has little to read again."""
        now = monotonic()
        if not self._standing.unsaved:
            self._saved_at = now
        elif now - self._saved_at > SAVE_SECONDS:
            self._saved_at, standing = now, self._standing
            try:
                self._advance(standing, await self.apply((), standing))
            except CursorMovedError:
                await self._begin_again()

    async def _take(self, records: Sequence[ConsumerRecord]) -> bool:
        """Apply and store a batch; False if the cursors had moved: what was read behind it is not to be used then."""
        mine = [record for record in records if place_of(record) in self._standing.cursors]
        if not mine:
            return True
        try:
            await self._apply(mine)
        except CannotStoreError as refusal:
            return await self._take_apart(mine, refusal)
        except CursorMovedError:
            return await self._begin_again()
        return True

    async def _take_apart(self, records: Sequence[ConsumerRecord], refusal: CannotStoreError) -> bool:
        """Find what the store refuses, in halves, and park it."""
        if len(records) > 1:
            middle = len(records) // 2
            return await self._take(records[:middle]) and await self._take(records[middle:])
        try:
            await self._apply(records, because=str(refusal))
        except CursorMovedError:
            return await self._begin_again()
        return True

    async def _apply(self, records: Sequence[ConsumerRecord], because: str | None = None) -> None:
        # A rebalance may give us another standing meanwhile; what was stored then shows by its guard.
        standing, began = self._standing, monotonic()
        # What lay in its partition before we were given it is read late or again: it joins no old trace.
        with processing(self.name, records, self._goals or {}) as self._tracing:
            progress = await self.apply(records, standing, because)
            self._tracing.applied(progress.applied)
        self._advance(standing, progress)
        self._look_for_what_is_missing(progress)
        self._adapt(len(records), monotonic() - began)
        self._tell(progress)
        self._measure(records, progress, monotonic() - began)

    def _look_for_what_is_missing(self, progress: Progress) -> None:
        for place, cursor in progress.cursors.items():
            look_back = self._look_backs.get(place)
            start = look_back.start(cursor, self._beginnings[place]) if look_back else None
            if start is not None and self._client is not None:
                log.warning("looking_back", consumer=self.name, place=str(place), gap=cursor.gap, start=start)
                self._client.seek(place, start)

    async def _begin_again(self) -> bool:
        log.warning("cursor_moved", consumer=self.name)
        await self._seek_again()
        return False

    def _adapt(self, records: int, seconds: float) -> None:
        self._watchdog.progressed(monotonic())
        self._batch_seconds = seconds
        slow = seconds > SLOW_BATCH_SECONDS
        self._batch_records = max(1, records // 2) if slow else min(BATCH_RECORDS, self._batch_records * 2)

    def _see_whether_caught_up(self) -> None:
        """Ready once all is read that was there when the partitions were assigned, and from then on."""
        if not self.ready and self._goals is not None:
            cursors = self._standing.cursors
            self.ready = all(
                place in cursors and cursors[place].next_offset >= end for place, end in self._goals.items()
            )

    def _tell(self, progress: Progress) -> None:
        for inbound, reason in progress.parked:
            if reason is not None:
                log.error("event_parked", consumer=self.name, reason=reason, **_whereabouts(inbound.record))
        for record, reason in progress.set_aside:
            log.warning("record_set_aside", consumer=self.name, reason=reason, **_whereabouts(record))

    def _measure(self, records: Sequence[ConsumerRecord], progress: Progress, seconds: float) -> None:
        CONSUMER_BATCHES.labels(consumer=self.name).inc()
        CONSUMER_BATCH_SECONDS.labels(consumer=self.name).observe(seconds)
        for place, cursor in progress.cursors.items():
            open_gap = cursor.gap is not None
            GAPS.labels(consumer=self.name, topic=place.topic, partition=place.partition).set(open_gap)
        newest = {place_of(record): record.timestamp / 1000 for record in records}
        for place, published_at in newest.items():
            self._lag.applied(place, published_at)
        recorded = [cursor.recorded_at.timestamp() for cursor in progress.cursors.values() if cursor.recorded_at]
        age = max(0.0, wall_clock() - max(recorded or newest.values()))
        PROJECTION_AGE.labels(consumer=self.name).set(age)
        EVENT_AGE.labels(consumer=self.name).observe(age)

    def _advance(self, standing: Standing, progress: Progress) -> None:
        standing.advance(progress)
        if not progress.deferred:
            self._count(progress.tally)

    def _count(self, tally: Tally) -> None:
        for (topic, outcome), count in tally.outcomes.items():
            EVENTS_CONSUMED.labels(consumer=self.name, topic=topic, outcome=outcome).inc(count)
        for topic, count in tally.unknown.items():
            UNKNOWN_EVENTS.labels(consumer=self.name, topic=topic).inc(count)

    # -- lag, parked events and progress, looked at every two seconds

    async def _look(self) -> None:
        answering = await self._answers()
        stuck = self._watchdog.is_stuck(monotonic(), lag=self._lag.total, answering=answering)
        if stuck and self.alive:
            log.error("consumer_stuck", consumer=self.name, lag=self._lag.total)
        self.alive = not stuck
        CONSUMER_STUCK.labels(consumer=self.name).set(stuck)
        for place, events in self._lag.events.items():
            CONSUMER_LAG.labels(consumer=self.name, topic=place.topic, partition=place.partition).set(events)
        CONSUMER_LAG_SECONDS.labels(consumer=self.name).set(self._lag.seconds(wall_clock()))

    async def _answers(self) -> bool:
        """Look at Kafka and at the store; False where one of them gives no sign of life."""
        kafka_answers = await self._answers_in_time("kafka", self._look_at_kafka())
        await self._give_up_a_lost_client(answers=kafka_answers)
        return await self._answers_in_time(self.stored_in, self._look_at_the_lot()) and kafka_answers

    async def _give_up_a_lost_client(self, *, answers: bool) -> None:
        """A client can lose its way when the broker goes and comes back, and wait for ever for what nobody sends.

        It says nothing of that, so it is known by what it leaves unanswered. Consuming is interrupted, and goes on with
        another client.
        """
        self._unanswered_looks = 0 if answers else self._unanswered_looks + 1
        if self._client is None or self._unanswered_looks < SILENT_LOOKS:
            return
        if await self._answers_in_time("kafka", kafka.ping(self._bootstrap)):
            log.warning("client_given_up", consumer=self.name)
            self._unanswered_looks = 0
            self._consuming.reschedule(asyncio.get_running_loop().time())

    async def _answers_in_time(self, dependency: str, question: Coroutine[Any, Any, None]) -> bool:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await question
        except (*self.transient, OffsetOutOfRangeError) as silence:
            log.debug("no_answer", consumer=self.name, dependency=dependency, exc_info=silence)
            DEPENDENCY_UP.labels(dependency=dependency).set(0)
            return False
        DEPENDENCY_UP.labels(dependency=dependency).set(1)
        return True

    async def _look_at_the_lot(self) -> None:
        size = await self.lot_size()
        PARKED_KEYS.labels(consumer=self.name).set(size.keys)
        PARKED_EVENTS.labels(consumer=self.name).set(size.events)
        waited = wall_clock() - size.oldest.timestamp() if size.oldest else 0.0
        PARKED_OLDEST_SECONDS.labels(consumer=self.name).set(max(0.0, waited))

    async def _look_at_kafka(self) -> None:
        client, standing = self._client, self._standing
        if client is None or not standing.cursors:
            await kafka.ping(self._bootstrap)
            return
        ends: dict[TopicPartition, int] = await client.end_offsets(list(standing.cursors))
        lags = {place: max(0, ends[place] - await self._read_to(client, place)) for place in standing.cursors}
        if standing is self._standing:
            self._lag.seen(lags, wall_clock())
            self.ready = self.ready or not any(lags.values())

    async def _read_to(self, client: AIOKafkaConsumer, place: TopicPartition) -> int:
        """Where reading goes on. Behind our last record there may be marks of an adapter's transaction, no records.

        The client's position tells of them, but it is ahead of what is applied while records are in hand.
        """
        cursor = self._standing.cursors[place]
        if self._records_in_hand:
            return cursor.next_offset
        position: int = await client.position(place)
        return max(cursor.next_offset, position)

    def _forget_all_but(self, places: set[TopicPartition]) -> None:
        """What another process reads now is measured there."""
        for topic in self.topics:
            for number in range(topic.partitions):
                if TopicPartition(topic.name, number) not in places:
                    for gauge in (CONSUMER_LAG, GAPS, RECORDS_LOST):
                        gauge.labels(consumer=self.name, topic=topic.name, partition=number).set(0)


def _whereabouts(record: ConsumerRecord) -> dict[str, object]:
    return {"topic": record.topic, "partition": record.partition, "offset": record.offset}
