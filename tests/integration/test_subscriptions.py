"""Other programs read over HTTP what is published: each event once, in order, from anywhere on, with their rights."""

import asyncio
import os
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import psutil
import pytest
from at_rest import Accounts
from door import Door, Reply, eventually
from ledger import EVENT_STORING, as_kept, kept_documents, row_of, stored_events
from listening import STREAM, Heard, Listening, listening, page, pages, refused

from crm_events import REGISTRY
from crm_events.envelope import Recorded, from_document
from crm_events.event import Event
from crm_events.topics import PARTITIONS, context_topic
from crm_gateway.projections.customers import Customers
from crm_platform.partitioning import partition_of
from crm_platform.projection import Place
from crm_platform.testing import fold_all

NOBODY = "00000000-0000-4000-8000-00000000dead"
GUIDE = Path(__file__).parents[2] / "docs/subscribing.md"
SECRET = "Please call me under my secret number."

Documents = list[dict[str, Any]]


async def capture(crm: Door, email: str = "", message: str = "Hello") -> Reply:
    lead = {"party": {"email": email or f"{uuid4().hex}@example.org"}, "source": "subscribed", "message": message}
    return (await crm.post("/api/leads", lead, role="sales")).expect(201)


async def beginning(accounts: Accounts) -> datetime:
    """Now, when nothing that a test before this one did can still lead to an event."""
    await accounts.at_rest()
    return datetime.now(UTC)


def names(events: Documents) -> list[str]:
    return [event["type"].split(".")[2] for event in events]


def ids(events: Documents) -> list[str]:
    return [event["id"] for event in events]


def in_stream_order(events: Documents) -> bool:
    """Whether each stream's events came without a hole, from the first on."""
    seen: dict[str, int] = {}
    for event in events:
        if int(event["sequence"]) != seen.get(event["subject"], 0) + 1:
            return False
        seen[event["subject"]] = int(event["sequence"])
    return True


def all_stored(crm: Door) -> set[str]:
    return {str(event.id) for service in EVENT_STORING for _, event in stored_events(crm.stack, service)}


# -- everything


async def test_pages_and_a_stream_give_every_published_event_once_and_in_order(crm: Door, accounts: Accounts) -> None:
    await asyncio.gather(*(capture(crm) for _ in range(20)))
    await accounts.at_rest()

    found = await pages(crm)
    async with listening(crm) as stream:
        heard = [each.event for each in await stream.next(len(found))]

    for events in (found, heard):
        assert len(ids(events)) == len(set(ids(events))), "none twice"
        assert set(ids(events)) == all_stored(crm), "none left out"
        assert in_stream_order(events)


async def test_what_is_given_is_what_was_stored(crm: Door) -> None:
    lead = await capture(crm)
    await crm.get(f"/api/leads/{lead.id}", after=lead.position)
    stored = {str(event.id): event for _, event in stored_events(crm.stack, "sales")}
    for event in await pages(crm, [("type", "crm.sales.*")]):
        assert from_document(event, REGISTRY) == stored[event["id"]]


async def test_a_new_subscriber_reaches_the_state_of_the_old_one(crm: Door, accounts: Accounts) -> None:
    """The gateway's read model is the old one: it heard each event when it was published."""
    await capture(crm)
    await accounts.at_rest()
    documents = Customers()
    async with listening(crm) as stream:
        told = [from_document(each.event, REGISTRY) for each in await stream.next(len(all_stored(crm)))]
    folded = {name: _given(row) for name, row in folded_by_partition(told).items()}

    async def equal() -> bool:
        kept = await asyncio.to_thread(kept_documents, crm.stack.addresses.mongodb_uri, "gateway", documents)
        return {name: _given(as_kept(row)) for name, row in kept.items()} == folded

    await eventually(equal, "the subscriber's fold is the gateway's read model")


def _given(row: dict[str, Any]) -> dict[str, Any]:
    """The row without blind indexes, which are given to nobody."""
    return {name: value for name, value in row.items() if name != "identifiers"}


def folded_by_partition(events: list[Recorded[Event]]) -> dict[str, dict[str, Any]]:
    by_place: dict[Place, list[Recorded[Event]]] = {}
    for event in events:
        place = Place(context_topic(event.data.context), partition_of(event.subject, PARTITIONS))
        by_place.setdefault(place, []).append(event)
    rows = {}
    for place, mine in by_place.items():
        for (kind, key), document in fold_all(Customers(), mine, place).items():
            rows[f"{kind.collection}/{key}"] = row_of(document, key)
    return rows


# -- going on


async def test_a_reader_goes_on_exactly_behind_any_event(crm: Door, accounts: Accounts) -> None:
    since = await beginning(accounts)
    await asyncio.gather(*(capture(crm) for _ in range(4)))
    await accounts.at_rest()
    asked = [("type", "crm.sales.*"), ("type", "crm.contacts.PartyResolved"), ("from", since.isoformat())]
    expected = sorted(ids(await pages(crm, asked)))
    assert len(expected) == 12
    async with listening(crm, asked) as stream:
        whole = await stream.next(len(expected))
    assert sorted(each.event["id"] for each in whole) == expected
    for number, each in enumerate(whole):
        rest = sorted(event.event["id"] for event in whole[number + 1 :])
        assert sorted(ids(await pages(crm, asked[:2], after=each.id))) == rest, "in pages"
        assert sorted(ids(await pages(crm, asked[:2], after=each.id, limit=2))) == rest, "in small pages"
        if rest:
            async with listening(crm, asked, after=each.id) as again:
                assert sorted(event.event["id"] for event in await again.next(len(rest))) == rest


async def test_a_page_at_the_end_gives_the_cursor_for_what_is_still_to_come(crm: Door, accounts: Accounts) -> None:
    await accounts.at_rest()
    asked = [("type", "crm.sales.LeadCaptured")]
    cursor = ""
    more = True
    while more:
        answer = await page(crm, asked, limit="200", **({"after": cursor} if cursor else {}))
        cursor, more = answer["next"], answer["more"]
    empty = await page(crm, asked, after=cursor)
    assert (empty["items"], empty["more"]) == ([], False)
    lead = await capture(crm)

    async def given() -> bool:
        return [event["subject"] for event in await pages(crm, asked, after=empty["next"])] == [lead.id]

    await eventually(given, "the next page holds the new lead, and nothing else")


class Diary:
    """A subscriber that comes back until it has heard so much, always behind the last event that it noted."""

    def __init__(self, crm: Door, asked: list[tuple[str, str]]) -> None:
        self._crm = crm
        self._asked = asked
        self.noted: list[Heard] = []
        self.connections = 0

    async def keep(self, until: int) -> None:
        while len(self.noted) < until:
            try:
                self.connections += 1
                async with listening(self._crm, self._asked, after=self.noted[-1].id if self.noted else "") as stream:
                    await self._note(stream, until)
            except (aiohttp.ClientError, OSError, AssertionError):
                await asyncio.sleep(0.2)

    async def _note(self, stream: Listening, until: int) -> None:
        async for event in stream.events():
            self.noted.append(event)
            if len(self.noted) == until:
                return


async def test_killed_in_the_middle_the_gateway_goes_on_where_each_subscriber_was(
    crm: Door, accounts: Accounts
) -> None:
    since = await beginning(accounts)
    asked = [("type", "crm.sales.*"), ("from", since.isoformat())]
    diaries = [Diary(crm, asked) for _ in range(3)]
    keeping = [asyncio.create_task(diary.keep(until=120)) for diary in diaries]
    try:
        for _ in range(2):
            await asyncio.gather(*(capture(crm) for _ in range(20)))
            noted = len(diaries[0].noted)
            await asyncio.to_thread(crm.stack.kill, "gateway")
            await asyncio.to_thread(crm.stack.wait_until_ready, "gateway", 60.0)
            assert noted <= len(diaries[0].noted)
        await asyncio.gather(*(capture(crm) for _ in range(20)))
        async with asyncio.timeout(90):
            await asyncio.gather(*keeping)
    finally:
        for each in keeping:
            each.cancel()
    await accounts.at_rest()
    stored = {str(e.id) for _, e in stored_events(crm.stack, "sales") if e.time >= since - timedelta(milliseconds=1)}
    assert len(stored) == 120
    for diary in diaries:
        events = [each.event for each in diary.noted]
        assert diary.connections > 1
        assert sorted(ids(events)) == sorted(stored), "each once"
        assert in_stream_order(events)


async def test_a_subscriber_that_reads_slowly_costs_the_gateway_no_memory(crm: Door) -> None:
    since = datetime.now(UTC).isoformat()
    body = "x" * 40_000
    for number in range(10):
        sent = [
            {
                "external_id": f"{number}-{n}", "occurred_at": since, "channel": "chat", "direction": "inbound",
                "party": {"email": f"slow-{n}@example.org"}, "body": body,
            }
            for n in range(100)
        ]  # fmt: skip
        batch = {"source": f"/adapters/slow-{uuid4().hex}", "interactions": sent}
        (await crm.post("/api/interactions", batch, role="adapter")).expect(202)
    asked = [("type", "crm.contacts.InteractionLogged"), ("from", since)]
    gateway = psutil.Process(crm.stack.pid("gateway"))

    async def all_logged() -> bool:
        return len(await pages(crm, asked)) == 1_000

    await eventually(all_logged, "all are logged", every=1)
    before = gateway.memory_info().rss
    async with listening(crm, asked) as slow:
        await asyncio.sleep(5)
        grown = gateway.memory_info().rss - before
        heard = await slow.next(1_000, within=60)
    assert len({each.event["id"] for each in heard}) == 1_000
    assert grown < 16 * 1024 * 1024, f"{grown} bytes for 50 MB that wait"


# -- from where


async def test_from_an_instant_on_all_that_was_recorded_then_and_nothing_before(crm: Door, accounts: Accounts) -> None:
    for _ in range(5):
        await capture(crm)
    await accounts.at_rest()
    asked = [("type", "crm.sales.*"), ("type", "crm.contacts.*")]
    everything = await pages(crm, asked)
    moments = sorted({event["time"] for event in everything})
    for moment in (moments[0], moments[len(moments) // 2], moments[-3], moments[-1]):
        expected = sorted(event["id"] for event in everything if event["time"] >= moment)
        assert sorted(ids(await pages(crm, [*asked, ("from", moment)]))) == expected


async def test_from_a_position_on_what_follows_a_write(crm: Door, accounts: Accounts) -> None:
    first = await capture(crm)
    second = await capture(crm)
    await accounts.at_rest()
    place = first.position.split()[0]
    topic, _, rest = place.partition("/")
    partition, _, position = rest.partition("@")
    behind = [
        str(event.id)
        for at, event in stored_events(crm.stack, "sales")
        if at > int(position) or partition_of(event.subject, PARTITIONS) != int(partition)
    ]
    assert topic == "crm.sales"
    given = await pages(crm, [("type", "crm.sales.*"), ("position", first.position)])
    assert sorted(ids(given)) == sorted(behind)
    assert second.id in {event["subject"] for event in given}


# -- one customer


async def customer_story(crm: Door) -> tuple[str, set[str]]:
    """A customer with a bit of everything; returns its id and the streams that belong to it."""
    email = f"{uuid4().hex}@example.org"
    lead = await capture(crm, email, SECRET)
    view = await crm.customer(after=lead.position, email=email)
    contact = view["contact_id"]
    await eventually(lambda: _linked(crm, "leads", lead.id), "the lead is linked")
    (await crm.post(f"/api/leads/{lead.id}/qualify", {"score": 80}, role="sales")).expect(200)
    money = {"value": {"amount": "10.00", "currency": "EUR"}, "title": "A deal"}
    deal = (await crm.post(f"/api/leads/{lead.id}/convert", money, role="sales")).expect(200)
    ticket = {"party": {"contact_id": contact}, "channel": "email", "subject": "Help"}
    asked = (await crm.post("/api/tickets", ticket, role="service")).expect(201)
    said = {
        "external_id": uuid4().hex, "occurred_at": "2026-03-01T10:00:00Z", "channel": "chat",
        "direction": "inbound", "party": {"email": email}, "body": SECRET,
    }  # fmt: skip
    batch = {"source": "/adapters/chat", "interactions": [said]}
    logged = (await crm.post("/api/interactions", batch, role="adapter")).expect(202)
    return contact, {contact, lead.id, asked.id, logged.body["results"][0]["id"], *_deals(deal)}


def _deals(reply: Reply) -> set[str]:
    return {value for name, value in reply.body.items() if name.endswith("opportunity_id")}


async def _linked(crm: Door, kind: str, id_: str) -> bool:
    return bool((await crm.get(f"/api/{kind}/{id_}", role="sales")).body.get("contact_id"))


async def test_a_customers_events_are_all_that_belongs_to_it_and_nothing_else(crm: Door, accounts: Accounts) -> None:
    contact, streams = await customer_story(crm)
    other, _ = await customer_story(crm)
    await accounts.at_rest()
    asked = [("customer", contact)]

    async def complete() -> bool:
        return set(names(await pages(crm, asked))) >= {"TicketLinked", "InteractionLogged", "OpportunityOpened"}

    await eventually(complete, "the read model has it all")
    events = await pages(crm, asked)
    assert streams <= {event["subject"] for event in events}
    assert in_stream_order(events)
    assert len(ids(events)) == len(set(ids(events)))
    assert not {event["id"] for event in events} & {event["id"] for event in await pages(crm, [("customer", other)])}
    assert sorted(names(events)) == sorted([
        "ContactRegistered", "PartyResolved", "PartyResolved", "InteractionLogged", "LeadCaptured", "LeadLinked",
        "LeadQualified", "LeadConverted", "OpportunityOpened", "TicketOpened", "TicketLinked",
    ])  # fmt: skip
    tickets = await pages(crm, [("customer", contact), ("type", "crm.service.*")])
    assert names(tickets) == ["TicketOpened", "TicketLinked"]
    assert names(await pages(crm, asked, limit=1)) == names(events), "in pages of one"


async def test_a_customers_events_come_as_they_happen_wherever_readers_stop(crm: Door) -> None:
    email = f"{uuid4().hex}@example.org"
    first = await capture(crm, email)
    contact = (await crm.customer(after=first.position, email=email))["contact_id"]
    asked = [("customer", contact)]
    heard: list[Heard] = []
    async with listening(crm, asked) as stream:
        heard += await stream.next(4)
        for _ in range(3):
            await capture(crm, email)
        heard += await stream.next(6)
        heard += await stream.next(3)
    assert sorted(names([each.event for each in heard])) == sorted(
        ["ContactRegistered", *["PartyResolved", "LeadCaptured", "LeadLinked"] * 4]
    )
    assert in_stream_order([each.event for each in heard])
    for number, each in enumerate(heard):
        rest = [event.event["id"] for event in heard[number + 1 :]]
        assert sorted(ids(await pages(crm, asked, after=each.id, limit=3))) == sorted(rest)


# -- rights


async def test_personal_blocks_are_sealed_unless_they_are_asked_for_open(crm: Door) -> None:
    lead = await capture(crm, message=SECRET)
    (await crm.get(f"/api/leads/{lead.id}", after=lead.position)).expect(200)
    asked = [("type", "crm.sales.LeadCaptured")]

    async def inquiry(**more: str) -> Any:
        found = await pages(crm, [*asked, *more.items()])
        return next(event["data"]["inquiry"] for event in found if event["subject"] == lead.id)

    assert set(await inquiry()) == {"event", "subject", "key", "box"}
    assert (await inquiry(personal="open"))["message"] == SECRET
    async with listening(crm, [*asked, ("personal", "open")]) as stream:
        async with asyncio.timeout(30):
            async for each in stream.events():
                if each.event["subject"] == lead.id:
                    assert each.event["data"]["inquiry"]["message"] == SECRET
                    break
    log = crm.stack.folder.log("gateway").read_text()
    assert SECRET not in log


async def test_who_may_not_read_is_refused(crm: Door) -> None:
    assert (await refused(crm, {}, role="adapter")).status == 403
    assert (await refused(crm, {}, role=None)).status == 401


async def test_a_stream_ends_with_its_token(crm: Door) -> None:
    token = crm.stack.token("sales", subject="brief", ttl=4)  # and 10 seconds in which clocks may differ
    async with listening(crm, [("from", datetime.now(UTC).isoformat())], token=token) as stream:
        async with asyncio.timeout(40):
            async for _ in stream.events():
                pass
    assert stream.beats >= 1
    assert stream.retry > 0


async def test_a_cursor_is_good_for_its_subject_and_its_filter_only(crm: Door) -> None:
    asked = [("type", "crm.sales.*")]
    cursor = (await page(crm, asked))["next"]
    assert (await page(crm, asked, after=cursor))["next"]
    altered = cursor[:-2] + ("AA" if cursor[-2:] != "AA" else "BB")
    for wrong in (altered, cursor[1:], "x", "é", cursor + "=", f"{cursor}\n"):
        assert (await refused(crm, [*asked, ("after", wrong)])).status == 400
    for other in ([("type", "crm.service.*")], [], [*asked, ("customer", NOBODY)]):
        refusal = await refused(crm, [*other, ("after", cursor)])
        assert refusal.status == 400
        assert "begin anew" in refusal.body["detail"]
    assert (await refused(crm, [*asked, ("after", cursor)], role="sales")).status == 400, "another subject's"
    headers = {"Last-Event-ID": altered}
    stream = await crm.send("GET", STREAM, role="analyst", headers=headers, params=asked)
    assert stream.is_problem(400)


@pytest.mark.parametrize(
    ("asked", "status", "saying"),
    [
        ({"from": "2999-01-01T00:00:00Z"}, 422, "yet to come"),
        ({"from": "yesterday"}, 422, ""),
        ({"from": "2026-03-02T09:30:00"}, 422, ""),
        ({"from": "2026-03-02T09:30:00Z", "after": "x"}, 400, "not both"),
        ({"position": "crm.sales/0@1", "after": "x"}, 400, "not both"),
        ({"position": "crm.sales/77@1"}, 400, "crm.sales/0 to 5"),
        ({"position": "crm.analytics/0@1"}, 400, "crm.sales/0 to 5"),
        ({"position": "crm.sales/0"}, 400, "CRM-Position"),
        ({"position": f"{NOBODY}@1"}, 400, "CRM-Position"),
        ({"position": "crm.sales/0@99999999999999999999"}, 400, "CRM-Position"),
        ({"type": "crm.sales.LeadCapture"}, 422, "crm.sales.LeadCaptured"),
        ({"type": "crm.sales.LeadCaptured.v99"}, 422, "crm.sales.LeadCaptured"),
        ({"type": "crm.nothing.*"}, 422, "nearest"),
        ({"type": ""}, 422, "nearest"),
        ({"customer": "ann"}, 422, ""),
        ({"customer": NOBODY}, 404, "no customer"),
        ({"personal": "yes"}, 422, ""),
        ({"colour": "red"}, 422, ""),
    ],
)
async def test_what_makes_no_sense_is_refused_clearly(
    crm: Door, asked: Mapping[str, str], status: int, saying: str
) -> None:
    refusal = await refused(crm, asked)
    assert refusal.status == status, refusal.body
    assert saying in refusal.body["detail"]


async def test_limits_of_a_page_are_refused(crm: Door) -> None:
    for limit in ("0", "201", "many"):
        assert (await crm.get("/api/events", limit=limit)).is_problem(422)


# -- the guide


async def test_the_client_in_the_guide_does_what_the_guide_says(crm: Door, accounts: Accounts, tmp_path: Path) -> None:
    (source,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert len([line for line in source.splitlines() if line]) == 20
    script = tmp_path / "client.py"
    script.write_text(source)
    await accounts.at_rest()
    told: list[str] = []

    async def noted() -> bool:
        return await asyncio.to_thread((tmp_path / "bookmark").exists)

    wanted = {str(e.id) for _, e in stored_events(crm.stack, "sales")}
    environment = {
        **os.environ,
        "GATEWAY": crm.stack.addresses.service_url("gateway"),
        "TOKEN": crm.token("analyst"),
    }
    for _ in range(2):
        await capture(crm)
        await accounts.at_rest()
        wanted |= {str(e.id) for _, e in stored_events(crm.stack, "sales")}
        client = await asyncio.create_subprocess_exec(
            sys.executable, str(script), cwd=tmp_path, env=environment, stdout=asyncio.subprocess.PIPE
        )
        assert client.stdout is not None
        async with asyncio.timeout(60):
            while not wanted <= set(told):
                type_name, event = (await client.stdout.readline()).decode().split()
                assert type_name.startswith(("crm.sales.", "crm.service.TicketOpened"))
                told.append(event)
        await eventually(noted, "the client has noted how far it came")
        client.kill()
        await client.wait()
    assert len(told) - len(set(told)) <= 1, "at most the one that it had not noted when it was killed"
