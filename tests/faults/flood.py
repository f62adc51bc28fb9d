"""Producers that outrun a consumer: a flood of interactions, and a consumer that gets a tenth of its time."""

import asyncio
import time

import psutil
from tests.faults.load import Load
from tests.faults.rig import Rig

from crm_events.topics import INTERACTIONS
from crm_platform import kafka

RUNS_SECONDS = 0.05
STANDS_SECONDS = 0.45


async def flood(
    rig: Rig, load: Load, process: psutil.Process, records: int, body_bytes: int, seconds: float, sampled: list[int]
) -> None:
    """Write that many interactions in that time while the process runs a tenth of it; its memory is sampled."""
    until = time.monotonic() + seconds
    throttled = asyncio.create_task(_throttle(process, until, sampled))
    async with kafka.producer(rig.stack.addresses.kafka_bootstrap, linger_ms=20) as producer:
        for sent in range(records):
            stream, value = load.interaction("x" * body_bytes)
            headers = [("content-type", b"application/cloudevents+json")]
            await producer.send(INTERACTIONS.name, value, str(stream).encode(), None, None, headers)
            load.interactions[stream] = str(stream)
            if sent % 100 == 0:
                await asyncio.sleep(max(0.0, until - seconds + seconds * sent / records - time.monotonic()))
        await producer.flush()
    await throttled


async def _throttle(process: psutil.Process, until: float, sampled: list[int]) -> None:
    try:
        while time.monotonic() < until:
            process.suspend()
            await asyncio.sleep(STANDS_SECONDS)
            process.resume()
            await asyncio.sleep(RUNS_SECONDS)
            sampled.append(process.memory_info().rss)
    finally:
        process.resume()
