"""R4: interactions from the channel adapters' topic to the customer view, through the whole platform.

All parts share this machine's processors, so what each of them takes for an interaction bounds the rate.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import uuid4

from benchmarks.comparison import RUNS, Run, Spread, cpu_ms, rates
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
VISIBLE_WITHIN_SECONDS = 10.0
POLL_SECONDS = 0.02
PARTS = (*INFRASTRUCTURE, *PLATFORM)


class Shares(NamedTuple):
    """A run, the CPU seconds that each part took in it, and those of this process, which only publishes and watches."""

    run: Run
    parts: dict[str, float]
    own: float

    @property
    def cores(self) -> float:
        """Processors that were busy with it on average."""
        return (sum(self.parts.values()) + self.own) / self.run.seconds

    def cpu_ms(self, part: str) -> float:
        """CPU milliseconds an interaction of one part."""
        return 1000 * self.parts[part] / self.run.events


async def measure(site: Site) -> Sequence[Figure]:
    """Every run brings new people, four interactions each; the clock stops when the view has all of them."""
    shares: list[Shares] = []
    async with GatewayView.open(site) as view:
        for number in range(1, RUNS + 1):
            share = await _run(site, view)
            shares.append(share)
            run = share.run
            say(f"  {number}/{RUNS} platform: {run.rate:,.0f}/s, {run.cpu_ms:.3f} ms CPU each, {share.cores:.2f} cores")
    runs = [share.run for share in shares]
    text = "interactions a second, adapter's topic to customer view, everything on this machine"
    return [Figure("R4", text, rates(runs), Target(2_000, unit="/s"), cpu_ms(runs)), *_bounds(shares)]


def _bounds(shares: Sequence[Shares]) -> Iterator[Figure]:
    """What the parts took of the machine."""
    busy = "cores busy on average while interactions flow, this benchmark's own process included"
    yield Figure("R4_cores", busy, Spread.of([share.cores for share in shares]), None)
    for part in PARTS:
        spread = Spread.of([share.cpu_ms(part) for share in shares])
        yield Figure(f"R4_cpu_{part}", f"CPU ms an interaction: {part}", spread, None)


async def _run(site: Site, view: GatewayView) -> Shares:
    batch = uuid4().hex[:8]
    messages = [_message(batch, number) for number in range(RECORDS)]
    before = await until_still(view, TimelineEntry)
    clocks = {part: site.cpu(parts=(part,)) for part in PARTS}
    own, began = time.process_time(), time.perf_counter()
    await publish(site.bootstrap, messages)
    await view.until_count(TimelineEntry, before + RECORDS)
    seconds, own = time.perf_counter() - began, time.process_time() - own
    parts = {part: clock.seconds() for part, clock in clocks.items()}
    await _check(view, batch)
    return Shares(Run(RECORDS, seconds, sum(parts.values())), parts, own)


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
    """The view tells of the last people what was sent of them. Raises TimeoutError."""
    # MongoDB counts a document a moment before a reader of what the majority has is given it.
    async with asyncio.timeout(VISIBLE_WITHIN_SECONDS):
        for person in range(PEOPLE - 3, PEOPLE):
            while await _items(view, _email(batch, person)) != RECORDS // PEOPLE:
                await asyncio.sleep(POLL_SECONDS)


async def _items(view: GatewayView, email: str) -> int:
    """How many items of the customer's timeline are shown."""
    customer = await view.get("/api/customers", email=email)
    return len(customer["timeline"]["items"])
