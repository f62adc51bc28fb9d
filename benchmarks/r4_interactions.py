"""R4: interactions from the channel adapters' topic to the customer view, through the whole platform."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import uuid4

from benchmarks.comparison import RUNS, Run, cpu_ms, rates
from benchmarks.gateway_view import GatewayView, until_still
from benchmarks.progress import say
from benchmarks.results import Figure, Target
from benchmarks.site import PLATFORM, Site
from crm_events.adapter import Channel, Direction, InteractionRecorded
from crm_events.parties import Party
from crm_events.topics import INTERACTIONS
from crm_gateway.projections.timeline import TimelineEntry
from crm_local.plan import INFRASTRUCTURE
from crm_local.publish.message import Message, to_message
from crm_platform import kafka

RECORDS = 20_000
PEOPLE = 5_000


async def measure(site: Site) -> Sequence[Figure]:
    """Every run brings new people, four interactions each; the clock stops when the view has all of them."""
    runs: list[Run] = []
    async with GatewayView.open(site) as view:
        for number in range(1, RUNS + 1):
            run = await _run(site, view)
            runs.append(run)
            say(f"  {number}/{RUNS} platform: {run.rate:,.0f}/s, {run.cpu_ms:.3f} ms CPU each")
    text = "interactions a second, adapter's topic to customer view, everything on this machine"
    return [Figure("R4", text, rates(runs), Target(2_000, unit="/s"), cpu_ms(runs))]


async def _run(site: Site, view: GatewayView) -> Run:
    batch = uuid4().hex[:8]
    messages = [_message(batch, number) for number in range(RECORDS)]
    before = await until_still(view, TimelineEntry)
    cpu = site.cpu(parts=(*INFRASTRUCTURE, *PLATFORM))
    began = time.perf_counter()
    await publish(site.bootstrap, messages)
    await view.until_count(TimelineEntry, before + RECORDS)
    run = Run(RECORDS, time.perf_counter() - began, cpu.seconds())
    await _check(view, batch)
    return run


def _message(batch: str, number: int) -> Message:
    record = InteractionRecorded(
        external_id=f"{batch}-{number}",
        channel=Channel.EMAIL,
        direction=Direction.INBOUND,
        party=Party(email=_email(batch, number % PEOPLE), name="Ada Byron"),
        subject="A question",
        body="Could you send me the new price list, please?",
        occurred_at=datetime.now(UTC),
    )
    return to_message(record, "benchmark", datetime.now(UTC))


def _email(batch: str, person: int) -> str:
    return f"person-{batch}-{person}@example.org"


async def publish(bootstrap: str, messages: Sequence[Message]) -> None:
    async with kafka.producer(bootstrap, linger_ms=5) as producer:
        acks = [await producer.send(INTERACTIONS.name, m.value, m.key, headers=list(m.headers)) for m in messages]
        await asyncio.gather(*acks)


async def _check(view: GatewayView, batch: str) -> None:
    """The view tells of the last people what was sent of them. Raises RuntimeError."""
    for person in range(PEOPLE - 3, PEOPLE):
        customer = await view.get("/api/customers", email=_email(batch, person))
        found = len(customer["timeline"]["items"])
        if found != RECORDS // PEOPLE:
            raise RuntimeError(f"a customer's timeline has {found} items, {RECORDS // PEOPLE} were sent")
