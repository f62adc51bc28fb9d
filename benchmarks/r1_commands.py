"""R1: commands over HTTP at the service's own port, durably stored, beside three ways to do less.

What the event store does without HTTP bounds what it can do behind it: that ratio has no target.
"""

import asyncio
import os
from collections.abc import Sequence

import aiohttp

from benchmarks import clients
from benchmarks.comparison import Run, cpu_ms, interleaved, ratio
from benchmarks.cpu import CpuClock
from benchmarks.library_saves import open_leads, save_for
from benchmarks.results import Figure, Target
from benchmarks.servers.direct import Task
from benchmarks.servers.plain import DATABASE
from benchmarks.site import Site
from crm_local.ports import HOST
from crm_platform.topics import declare

SECONDS = 4.0
LEAD = (
    b'{"party":{"email":"person-' + clients.NUMBER + b'@example.org","name":"Ada Byron"},'
    b'"source":"web","message":"Please call me back about the offer."}'
)


async def measure(site: Site) -> Sequence[Figure]:
    """The sales service in the role `api`; its baselines are servers with the same settings, or no server at all."""
    await declare(site.bootstrap)
    lead = clients.request("POST", "/leads", site.stack.token("sales"), LEAD)
    with site.postgres("bench_library") as library_uri:
        leads = open_leads(library_uri)
        async with (
            site.mongo(DATABASE),
            site.server("sales", "crm_sales", "api") as service,
            site.server("accepting", "benchmarks.servers.accepting") as accepting,
            site.server("direct", "benchmarks.servers.direct") as direct,
            site.server("plain", "benchmarks.servers.plain") as plain,
        ):

            async def posted(to: tuple[int, int]) -> Run:
                port, pid = to
                cpu = site.cpu(pid)
                answered = await clients.ask(port, lead, status=201, seconds=SECONDS)
                return _run(answered, cpu)

            async def given() -> Run:
                port, pid = direct
                cpu = site.cpu(pid)
                return _run(await _given(port), cpu)

            async def saved() -> Run:
                cpu = site.cpu(os.getpid())
                events, seconds = await asyncio.to_thread(save_for, leads, SECONDS)
                return Run(events, seconds, cpu.seconds())

            runs = await interleaved(
                {
                    "platform": lambda: posted(service),
                    "nothing stored": lambda: posted(accepting),
                    "store without HTTP": given,
                    "library saves": saved,
                    "FastAPI + Motor": lambda: posted(plain),
                }
            )
        leads.close()
    ours, nothing, store = runs["platform"], runs["nothing stored"], runs["store without HTTP"]
    bound = (
        f"the same commands given to the event store by {clients.CONNECTIONS} coroutines, no HTTP"
        " ÷ the same route storing nothing"
    )
    sides = (
        ("R1a", "commands over HTTP ÷ the same route storing nothing", "nothing stored", 0.5),
        ("R1b", "commands over HTTP ÷ a loop of the library's `Application.save`", "library saves", 1.5),
        ("R1c", "commands over HTTP ÷ plain FastAPI + Motor `insert_one`", "FastAPI + Motor", 1.3),
    )
    return [
        *(
            Figure(id_, text, ratio(ours, runs[side]), Target(least), cpu_ms(ours), cpu_ms(runs[side]))
            for id_, text, side, least in sides
        ),
        Figure("R1_store", bound, ratio(store, nothing), None, cpu_ms(store), cpu_ms(nothing)),
    ]


async def _given(port: int) -> clients.Answered:
    """Have the store's own process give it commands. Raises aiohttp.ClientResponseError where one was refused."""
    task = Task(lead=LEAD.decode(), warm_up=clients.WARM_UP, seconds=SECONDS, coroutines=clients.CONNECTIONS)
    patience = aiohttp.ClientTimeout(total=clients.WARM_UP + SECONDS + clients.PATIENCE)
    async with (
        aiohttp.ClientSession(timeout=patience, raise_for_status=True) as session,
        session.post(f"http://{HOST}:{port}/give", json=task.model_dump()) as answer,
    ):
        return clients.Answered(*await answer.json())


def _run(answered: clients.Answered, cpu: CpuClock) -> Run:
    """CPU was spent on the requests of the warm-up, too."""
    return Run(answered.events, answered.seconds, cpu.seconds() * answered.events / answered.total)
