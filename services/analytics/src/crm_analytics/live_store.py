"""Where live windows are kept: two collections beside the read models, for a day at most."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pymongo import UpdateOne

from crm_analytics.live import Line, Metric, WindowCount
from crm_platform import mongo
from crm_platform.backoff import Backoff
from crm_platform.errors import Unavailable
from crm_platform.logging import get_logger

KEPT = timedelta(days=1)
_WINDOWS = "live_windows"
_WRITES = "live_writes"
_WRITER = "stream"

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LiveCounts:
    """The windows asked for, and when the stream last wrote, whether or not anything had changed."""

    windows: tuple[WindowCount, ...]
    written_at: datetime | None


class LiveWindows:
    """Window counts in MongoDB; it holds the connection while it runs.

    A window's count only rises, so that two writers cannot take anything back from one another.
    """

    name = "live-windows"
    alive = True

    def __init__(self, mongodb_uri: str, database: str) -> None:
        self._uri = mongodb_uri
        self._name = database
        self._database: mongo.Database | None = None

    @property
    def ready(self) -> bool:
        return self._database is not None

    async def run(self) -> None:
        """Connect, declare that windows expire, and stay connected until cancelled."""
        client = mongo.connect(self._uri)
        try:
            database = mongo.database(client, self._name)
            await _expire_windows(database)
            self._database = database
            await asyncio.Event().wait()
        finally:
            self._database = None
            client.close()

    async def write(self, counts: Sequence[WindowCount], now: datetime) -> None:
        """Write the counts, and that it was done now. Raises Unavailable before it is connected, or MongoError."""
        database = self._connected()
        if counts:
            await database[_WINDOWS].bulk_write([_upsert(count) for count in counts], ordered=False)
        await database[_WRITES].update_one({"_id": _WRITER}, {"$max": {"written_at": now}}, upsert=True)

    async def since(self, start: datetime) -> LiveCounts:
        """The windows that start then or later. Raises Unavailable before it is connected, or MongoError."""
        database = self._connected()
        rows = await database[_WINDOWS].find({"start": {"$gte": start}}).to_list(None)
        write = await database[_WRITES].find_one({"_id": _WRITER})
        return LiveCounts(tuple(map(_window, rows)), write["written_at"] if write else None)

    def _connected(self) -> mongo.Database:
        if self._database is None:
            raise Unavailable("The live windows are not connected to MongoDB yet; try again in a moment.")
        return self._database


async def _expire_windows(database: mongo.Database) -> None:
    backoff = Backoff()
    while True:
        try:
            await database[_WINDOWS].create_index("start", expireAfterSeconds=int(KEPT.total_seconds()))
        except mongo.MongoError as away:
            log.warning("live_mongodb_away", exc_info=away)
            await backoff.wait()
        else:
            return


def _upsert(count: WindowCount) -> UpdateOne:
    identity = {
        "metric": count.line.metric.value,
        "source": count.line.source,
        "partition": count.partition,
        "start": count.start,
    }
    key = f"{count.line.metric}/{count.partition}/{count.start:%Y%m%dT%H%MZ}/{count.line.source or ''}"
    return UpdateOne({"_id": key}, {"$setOnInsert": identity, "$max": {"count": count.count}}, upsert=True)


def _window(row: mongo.Row) -> WindowCount:
    return WindowCount(Line(Metric(row["metric"]), row["source"]), row["partition"], row["start"], row["count"])
