"""The speed layer: live windows in a Faust table, written to MongoDB once a second.

It counts by the minute of a record's Kafka timestamp (`crm_analytics.live`), from the newest offset where its group has
read nothing yet, and never joins the record: what it cannot read it passes over and counts. An event is counted once:
its position in the log (`ce_position`) is kept with the count, so what is read again after a crash, or published
again, changes nothing. Concurrency is 1 and no key is shared by partitions, because Faust loses counts otherwise.
"""

import logging
import tempfile
import time
from datetime import UTC, datetime
from typing import Any, NamedTuple

import faust
import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from prometheus_client import Counter

from crm_analytics.live import COUNTED, COUNTED_TYPES, SHOWN_WINDOWS, WINDOW, Line, Metric, WindowCount, line_of
from crm_analytics.live_store import LiveWindows
from crm_analytics.progress import Partition, Progress
from crm_events import REGISTRY
from crm_events.envelope import from_document
from crm_events.topics import MARKETING, PARTITIONS, SALES, SERVICE, context_topic
from crm_platform import kafka
from crm_platform.authenticity import Authenticator
from crm_platform.backoff import Backoff
from crm_platform.errors import Unavailable
from crm_platform.inbound import link_of
from crm_platform.logging import get_logger
from crm_platform.mongo import MongoError

GROUP = "crm-analytics-live"
SOURCES = (SALES, SERVICE, MARKETING)
WRITE_SECONDS = 1.0
FRESH_SECONDS = 10.0
SESSION_SECONDS = 10.0
COMMIT_SECONDS = 2.0
_CHANGELOG = {"segment.ms": str(60 * 60 * 1000)}
"""Faust has the changelog keep what the windows keep; Kafka drops whole segments, so these are an hour at most."""

_UNREADABLE = Counter("crm_live_unreadable_records", "Records that the live windows passed over as unreadable")
_COUNTED = Counter("crm_live_counted_events", "Events counted in live windows")
_FAILED_WRITES = Counter("crm_live_failed_writes", "Writes of live windows to MongoDB that failed")

_TOPIC_OF: dict[Metric, str] = {metric: context_topic(event.context) for event, metric in COUNTED.items()}

log = get_logger(__name__)


class _Record(NamedTuple):
    """A message of Faust's as the platform reads records."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class FaustEndedError(RuntimeError):
    """Faust has stopped without being told to; the process has to start again."""


class LiveStream:
    """Counts events in windows until it is cancelled."""

    name = "live-stream"

    def __init__(self, kafka_bootstrap: str, windows: LiveWindows, authenticator: Authenticator) -> None:
        self._bootstrap = kafka_bootstrap
        self._windows = windows
        self._authenticator = authenticator
        self._app: Any = None
        self._counts: Any = None
        self._highest: dict[Partition, int] = {}
        self._written: dict[Any, int] = {}
        self._written_at = float("-inf")
        self._progress = Progress()

    @property
    def ready(self) -> bool:
        """Whether it counts, and its counts reach MongoDB."""
        return time.monotonic() - self._written_at < FRESH_SECONDS

    @property
    def alive(self) -> bool:
        """Whether it gets on with what there is to read."""
        return not self._progress.is_stalled(time.monotonic())

    async def run(self) -> None:
        """Run Faust in this loop until cancelled; raises FaustEndedError if it ends by itself."""
        for library in ("faust", "mode"):
            logging.getLogger(library).setLevel(logging.WARNING)
        await self._start_at_newest()
        with tempfile.TemporaryDirectory(prefix="crm-live-") as folder:
            self._app = self._define(folder)
            try:
                await self._app.start()
                await self._app.wait_until_stopped()
            finally:
                await self._app.stop()
        raise FaustEndedError("the live windows' Faust application has ended by itself") from self._app.crash_reason

    async def _start_at_newest(self) -> None:
        backoff = Backoff()
        while True:
            try:
                return await start_at_newest(self._bootstrap)
            except kafka.TRANSIENT as away:
                log.warning("live_kafka_away", exc_info=away)
                await backoff.wait()

    def _define(self, folder: str) -> Any:
        app = faust.App(
            GROUP,
            broker=f"kafka://{self._bootstrap.replace(',', ';kafka://')}",
            datadir=folder,
            store="memory://",
            web_enabled=False,
            autodiscover=False,
            key_serializer="raw",
            value_serializer="raw",
            # The changelog of the table is the one topic that Faust declares, like its sources in 6 partitions.
            topic_partitions=PARTITIONS,
            topic_disable_leader=True,
            table_standby_replicas=0,
            # Retention moves the changelog's beginning, and Faust seeks one before it: only "earliest" finds back.
            consumer_auto_offset_reset="earliest",
            broker_session_timeout=SESSION_SECONDS,
            broker_heartbeat_interval=SESSION_SECONDS / 4,
            broker_commit_interval=COMMIT_SECONDS,
        )
        table = app.Table("windows", default=tuple, partitions=PARTITIONS, extra_topic_configs=_CHANGELOG)
        self._counts = table.tumbling(WINDOW, expires=WINDOW * (SHOWN_WINDOWS + 1))
        self._counts.on_recover(self._recovered)
        app.agent(app.topic(*(topic.name for topic in SOURCES), key_type=bytes, value_type=bytes), concurrency=1)(
            self._count
        )
        app.timer(interval=WRITE_SECONDS)(self._write)
        return app

    async def _recovered(self) -> None:
        """What another worker counted meanwhile is in the table now."""
        self._highest.clear()

    async def _count(self, stream: Any) -> None:
        """The agent. An exception would end it silently, so there is none."""
        async for record in stream.events():
            message = record.message
            try:
                self._take(message)
            except Exception:  # noqa: BLE001 - see above
                _UNREADABLE.inc()
                log.warning("live_unreadable", topic=message.topic, partition=message.partition, offset=message.offset)
            self._progress.took((message.topic, message.partition), message.offset, time.monotonic())

    def _take(self, message: Any) -> None:
        headers = dict(message.headers)
        if headers["ce_type"] not in COUNTED_TYPES:
            return
        record = _Record(message.topic, message.partition, message.key, message.value, tuple(headers.items()))
        position = link_of(record, self._authenticator).position
        place = (message.topic, message.partition)
        if position <= self._highest_position(place):
            return
        line = line_of(from_document(orjson.loads(message.value), REGISTRY).data)
        key = (line.metric.value, line.source, message.partition)
        count = self._counts[key].value()
        self._counts[key] = ((count[0] if count else 0) + 1, position)
        self._highest[place] = position
        _COUNTED.inc()

    def _highest_position(self, place: Partition) -> int:
        """The highest position counted of a partition: after a start, what the recovered table says."""
        if place not in self._highest:
            topic, partition = place
            self._highest[place] = max(
                (
                    position
                    for ((metric, _, counted_in), _), (_, position) in self._rows()
                    if counted_in == partition and _TOPIC_OF[Metric(metric)] == topic
                ),
                default=-1,
            )
        return self._highest[place]

    def _rows(self) -> list[tuple[Any, Any]]:
        """What the table holds: ((metric, source, partition), (window start, end)) -> (count, position)."""
        return list(self._counts.table.items())

    async def _write(self) -> None:
        """The timer: write every window whose count has changed since it was written, and that we are alive."""
        self._observe()
        rows = {key: value[0] for key, value in self._rows()}
        changed = {key: count for key, count in rows.items() if self._written.get(key) != count}
        try:
            await self._windows.write([_window_count(*row) for row in changed.items()], datetime.now(UTC))
        except (MongoError, Unavailable) as failure:
            _FAILED_WRITES.inc()
            log.warning("live_write_failed", exc_info=failure)
            return
        self._written = rows
        self._written_at = time.monotonic()

    def _observe(self) -> None:
        sources = {topic.name for topic in SOURCES}
        consumer = self._app.consumer
        try:
            ends = {tp: consumer.highwater(tp) for tp in consumer.assignment() if tp.topic in sources}
        except AssertionError:
            # The consumer lives in a thread of its own: a partition was taken from it between the two questions.
            return
        known = {(tp.topic, tp.partition): end for tp, end in ends.items() if end is not None}
        self._progress.observe(known, time.monotonic())


def _window_count(key: Any, count: int) -> WindowCount:
    (metric, source, partition), (start, _) = key
    return WindowCount(Line(Metric(metric), source), partition, datetime.fromtimestamp(start, UTC), count)


async def start_at_newest(kafka_bootstrap: str) -> None:
    """Commit the end of every source partition that the group has never read."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka_bootstrap, group_id=GROUP, enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic.name, number) for topic in SOURCES for number in range(topic.partitions)]
        consumer.assign(partitions)
        unread = [partition for partition in partitions if await consumer.committed(partition) is None]
        if unread:
            await consumer.commit(await consumer.end_offsets(unread))
    finally:
        await consumer.stop()
