"""R7: a new version of a read model, filled from the beginning of its topic by a worker of its own.

R7a beside decoding and folding the same records in memory with no database; R7b a long history beside a short one. The
workers that read the long one are those whose memory R8 tells.
"""

import asyncio
from collections.abc import Sequence

from benchmarks import parts, topics
from benchmarks.comparison import Run, cpu_ms, interleaved, ratio
from benchmarks.history import EVENTS_EACH, TicketHistory, fill, relayed
from benchmarks.r8_memory import memory_of
from benchmarks.results import Figure, Target
from benchmarks.site import Site
from benchmarks.tickets import fold, new_version
from benchmarks.worker import Rebuilt, rebuild
from crm_events.topics import Topic

SHORT_TICKETS = 100_000 // EVENTS_EACH
LONG_TICKETS = 1_000_000 // EVENTS_EACH
WORDS = 10


async def measure(site: Site) -> Sequence[Figure]:
    """The short and the long history are rebuilt in turns, and the short one is folded in memory beside them."""
    workers = list[Rebuilt]()
    async with topics.new(site) as short, topics.new(site) as long:
        few = await _filled(site, short, SHORT_TICKETS)
        many = await _filled(site, long, LONG_TICKETS)
        records = await topics.records_of(site.bootstrap, short)

        async def rebuilt(topic: Topic, events: int) -> Run:
            run, worker = await rebuild(site, topic, new_version(), events)
            if topic is long:
                workers.append(worker)
            return run

        runs = await interleaved(
            {
                "100,000 events": lambda: rebuilt(short, few),
                "in memory": lambda: fold(short, records),
                "1,000,000 events": lambda: rebuilt(long, many),
            }
        )
    few_runs, many_runs, memory_runs = runs["100,000 events"], runs["1,000,000 events"], runs["in memory"]
    return [
        Figure(
            "R7a",
            "rebuild ÷ decoding and folding the same records in memory",
            ratio(few_runs, memory_runs),
            Target(0.4),
            cpu_ms(few_runs),
            cpu_ms(memory_runs),
        ),
        Figure(
            "R7b",
            "rebuild rate at 1,000,000 events ÷ at 100,000",
            ratio(many_runs, few_runs),
            Target(0.9),
            cpu_ms(many_runs),
            cpu_ms(few_runs),
        ),
        memory_of(workers),
    ]


async def _filled(site: Site, topic: Topic, tickets: int) -> int:
    """Store the history of so many tickets and relay it to the topic."""
    with site.postgres("bench_rebuild") as uri:
        store = await asyncio.to_thread(parts.open_store, uri)
        await asyncio.to_thread(fill, uri, TicketHistory(store, WORDS).rows(tickets))
        events = await relayed(store, uri, site.bootstrap, topic)
        store.close()
    return events
