"""R2: the relay, from a filled store to Kafka, beside a bare producer that sends the same records."""

import asyncio
import os
import time
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer

from benchmarks import parts, topics
from benchmarks.comparison import Run, cpu_ms, interleaved, ratio
from benchmarks.history import TicketHistory, fill, relayed
from benchmarks.results import Figure, Target
from benchmarks.site import Site
from crm_events.topics import MAX_MESSAGE_BYTES

TICKETS = 20_000
WORDS = 20
BATCH_BYTES = 256 * 1024
"""The baseline's batches are the platform's: the library's default of 16 kB is slower."""


async def measure(site: Site) -> Sequence[Figure]:
    """Both sides are clocked from connecting to the last acknowledgement."""
    with site.postgres("bench_relay") as uri:
        store = await asyncio.to_thread(parts.open_store, uri)
        await asyncio.to_thread(fill, uri, TicketHistory(store, WORDS).rows(TICKETS))
        async with topics.new(site) as first:
            await relayed(store, uri, site.bootstrap, first)
            records = await topics.records_of(site.bootstrap, first)

        async def relay() -> Run:
            async with topics.new(site) as topic:
                cpu, began = site.cpu(os.getpid()), time.perf_counter()
                events = await relayed(store, uri, site.bootstrap, topic)
                return Run(events, time.perf_counter() - began, cpu.seconds())

        async def bare() -> Run:
            async with topics.new(site) as topic:
                cpu, began = site.cpu(os.getpid()), time.perf_counter()
                producer = AIOKafkaProducer(
                    bootstrap_servers=site.bootstrap,
                    enable_idempotence=True,
                    max_batch_size=BATCH_BYTES,
                    max_request_size=MAX_MESSAGE_BYTES,
                )
                await producer.start()
                acks = [
                    await producer.send(topic.name, r.value, r.key, partition=r.partition, headers=list(r.headers))
                    for r in records
                ]
                await asyncio.gather(*acks)
                await producer.stop()
                return Run(len(records), time.perf_counter() - began, cpu.seconds())

        runs = await interleaved({"platform": relay, "bare producer": bare})
        store.close()
    ours, theirs = runs["platform"], runs["bare producer"]
    text = "relay, store to Kafka ÷ bare aiokafka idempotent producer"
    return [Figure("R2", text, ratio(ours, theirs), Target(0.7), cpu_ms(ours), cpu_ms(theirs))]
