"""R6: the customer view with 50 items in its timeline, beside a plain route that returns one document of that size.

What the gateway does for every request bounds the view: it is measured with a request that reads nothing.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import uuid4

import orjson

from benchmarks import clients
from benchmarks.comparison import Run, cpu_ms, interleaved, ratio
from benchmarks.gateway_view import GatewayView
from benchmarks.r4_interactions import publish
from benchmarks.results import Figure, Target
from benchmarks.servers.plain import DATABASE
from benchmarks.site import PLATFORM, Site
from crm_events.adapter import Channel, Direction, InteractionRecorded
from crm_events.parties import Party
from crm_gateway.projections.timeline import TimelineEntry
from crm_local.publish.message import to_message

ITEMS = 50
SECONDS = 4.0
NOTHING = b'{"source":"benchmark","interactions":[0]}'
"""A batch whose only interaction is refused: the one route behind a token that answers 200 and asks no database."""


async def measure(site: Site) -> Sequence[Figure]:
    """The plain route returns the very answer of the view, kept as one document."""
    async with GatewayView.open(site) as view, site.mongo(DATABASE) as plain_database:
        answer = await _customer(site, view)
        id_ = answer["contact_id"]
        await plain_database["customers"].insert_one({"_id": id_, **answer})
        # What the other services do at rest is not the view's cost.
        for part in PLATFORM:
            if part != "gateway":
                await asyncio.to_thread(site.stack.hold, part)
        async with site.server("plain", "benchmarks.servers.plain") as plain:
            token, adapter = site.stack.token("analyst"), site.stack.token("adapter")
            gateway = (site.addresses.ports["gateway"], site.stack.pid("gateway"))

            async def asked(of: tuple[int, int], wanted: bytes) -> Run:
                port, pid = of
                cpu = site.cpu(pid)
                answered = await clients.ask(port, wanted, status=200, seconds=SECONDS)
                return Run(answered.events, answered.seconds, cpu.seconds() * answered.events / answered.total)

            runs = await interleaved(
                {
                    "platform": lambda: asked(gateway, clients.request("GET", f"/api/customers/{id_}", token)),
                    "nothing read": lambda: asked(
                        gateway, clients.request("POST", "/api/interactions", adapter, NOTHING)
                    ),
                    "FastAPI + Motor": lambda: asked(plain, clients.request("GET", f"/customers/{id_}")),
                }
            )
    ours, nothing, theirs = runs["platform"], runs["nothing read"], runs["FastAPI + Motor"]
    size = len(orjson.dumps(answer)) / 1000
    text = f"customer view with {ITEMS} items ({size:.0f} kB) ÷ plain FastAPI + Motor `find_one` of the same document"
    bound = (
        "a request to the gateway that is authenticated, limited and logged and reads nothing"
        " (`POST /api/interactions` of one that is refused) ÷ the plain route"
    )
    return [
        Figure("R6", text, ratio(ours, theirs), Target(1.0), cpu_ms(ours), cpu_ms(theirs)),
        Figure("R6_nothing", bound, ratio(nothing, theirs), None, cpu_ms(nothing), cpu_ms(theirs)),
    ]


async def _customer(site: Site, view: GatewayView) -> dict[str, object]:
    """Somebody with so many interactions of a few words; the view of them."""
    email, before = f"{uuid4().hex}@example.org", await view.count(TimelineEntry)
    records = [
        InteractionRecorded(
            external_id=str(number),
            channel=Channel.CHAT,
            direction=Direction.INBOUND,
            party=Party(email=email),
            body="See you then.",
            occurred_at=datetime.now(UTC),
        )
        for number in range(ITEMS)
    ]
    await publish(site.bootstrap, [to_message(record, email, datetime.now(UTC)) for record in records])
    await view.until_count(TimelineEntry, before + ITEMS)
    return await view.get("/api/customers", email=email)
