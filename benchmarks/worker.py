"""A worker that rebuilds a read model: `python -m benchmarks.worker`, told on standard input what from, what into.

A process of its own, so that its memory is its own. It answers with what it did and the memory that it took on the way.
"""

import sys
import time
from typing import NamedTuple

import orjson
import psutil

from benchmarks import parts
from benchmarks.children import child
from benchmarks.comparison import Run
from benchmarks.site import Site
from benchmarks.tickets import tickets_from
from crm_events.topics import Topic
from crm_platform import mongo
from crm_platform.rebuild.filler import Offsets
from crm_platform.server import run

DATABASE = "bench_rebuild"
_SETTLED = 0.2


class Rebuilt(NamedTuple):
    """A rebuild by one worker.

    Memory is the greatest resident set, in bytes: up to a fifth of the way, by when caches and pools are filled, and
    up to the end.
    """

    events: int
    seconds: float
    cpu_seconds: float
    settled_bytes: int
    most_bytes: int

    @property
    def growth_percent(self) -> float:
        return 100 * (self.most_bytes - self.settled_bytes) / self.settled_bytes


async def rebuild(site: Site, topic: Topic, number: int, records: int) -> tuple[Run, Rebuilt]:
    """Have a worker fill the read model of tickets, in version `number`, from so many records of the topic."""
    task = orjson.dumps([site.addresses.mongodb_uri, site.bootstrap, topic.name, number, records])
    async with site.mongo(DATABASE), child("benchmarks.worker") as process:
        servers = site.cpu()
        output, _ = await process.communicate(task)
        if process.returncode:
            raise RuntimeError("the worker failed; it said why above")
        rebuilt = Rebuilt(*orjson.loads(output))
        return Run(rebuilt.events, rebuilt.seconds, servers.seconds() + rebuilt.cpu_seconds), rebuilt


class _Watch:
    """Hears how far the filling is, and how much memory it takes."""

    def __init__(self, records: int) -> None:
        self._records = records
        self._process = psutil.Process()
        self.settled = self.most = self.filled = 0

    async def look(self, offsets: Offsets) -> None:
        self.filled = sum(offsets.values())
        self.most = max(self.most, self._process.memory_info().rss)
        if self.filled <= _SETTLED * self._records:
            self.settled = self.most


async def _rebuild(mongodb_uri: str, bootstrap: str, topic: str, number: int, records: int) -> Rebuilt:
    client = mongo.connect(mongodb_uri)
    watch = _Watch(records)
    async with parts.filling(
        tickets_from(Topic(topic), number), mongo.database(client, DATABASE), bootstrap
    ) as filling:
        goals = await parts.end_offsets(bootstrap, Topic(topic))
        began = time.perf_counter()
        await filling.fill(goals, watch.look)
        seconds = time.perf_counter() - began
    client.close()
    return Rebuilt(watch.filled, seconds, time.process_time(), watch.settled, watch.most)


async def _told(mongodb_uri: str, bootstrap: str, topic: str, number: int, records: int) -> None:
    rebuilt = await _rebuild(mongodb_uri, bootstrap, topic, number, records)
    sys.stdout.buffer.write(orjson.dumps(tuple(rebuilt)))
    if rebuilt.events < records:
        raise RuntimeError(f"{rebuilt.events} of {records} records were applied")


if __name__ == "__main__":
    run(_told(*orjson.loads(sys.stdin.buffer.read())))
