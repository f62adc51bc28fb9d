"""R3: the projector on a filled topic, beside a loop of one upsert for each event in bulks of the same size.

Decoding and folding alone bounds the projector: it is what would be left if Kafka and the database cost nothing.
"""

import asyncio
from collections.abc import Sequence

from benchmarks import parts, topics
from benchmarks.comparison import Run, cpu_ms, interleaved, ratio
from benchmarks.history import EVENTS_EACH, TicketHistory, fill, relayed
from benchmarks.results import Figure, Target
from benchmarks.site import Site
from benchmarks.tickets import fold, new_version, project, tickets_from, upsert

TICKETS = 6_000
WORDS = 75
"""A request of this many words makes a document of 2 kB."""


async def measure(site: Site) -> Sequence[Figure]:
    """Six events of each ticket stand one after another in its partition, so a batch holds them all."""
    with site.postgres("bench_projector") as uri:
        store = await asyncio.to_thread(parts.open_store, uri)
        await asyncio.to_thread(fill, uri, TicketHistory(store, WORDS).rows(TICKETS))
        async with topics.new(site) as topic:
            events = await relayed(store, uri, site.bootstrap, topic)

            async def projector() -> Run:
                async with site.mongo("bench_projector") as database:
                    return await project(site, database, tickets_from(topic, new_version()), events)

            async def upserts(*, whole: bool) -> Run:
                async with site.mongo("bench_projector") as database:
                    return await upsert(site, database, topic, whole=whole)

            async def folded() -> Run:
                # Read anew each time and then dropped: the other sides run in this process, too, without them.
                return await fold(topic, await topics.records_of(site.bootstrap, topic))

            runs = await interleaved(
                {
                    "platform": projector,
                    "the document an event": lambda: upserts(whole=True),
                    "its changes an event": lambda: upserts(whole=False),
                    "in memory": folded,
                }
            )
        store.close()
    ours, documents, changes = runs["platform"], runs["the document an event"], runs["its changes an event"]
    memory = runs["in memory"]
    text = f"projector ÷ one upsert an event of the document (2 kB, {EVENTS_EACH} events each)"
    beside = "projector ÷ one upsert an event of only the fields that it changes"
    bound = (
        "decoding and folding the same records in memory, fetched before, no database"
        " ÷ one upsert an event of the document: the projector's ratio if Kafka and the database cost it nothing"
    )
    return [
        Figure("R3", text, ratio(ours, documents), Target(4.0), cpu_ms(ours), cpu_ms(documents)),
        Figure("R3_changes", beside, ratio(ours, changes), None, cpu_ms(ours), cpu_ms(changes)),
        Figure("R3_memory", bound, ratio(memory, documents), None, cpu_ms(memory), cpu_ms(documents)),
    ]
