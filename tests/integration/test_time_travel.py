"""A customer as of any past moment is what the live view was then, and every change of it is told."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import orjson
import pytest
from aiokafka import TopicPartition
from door import Door
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from libs.platform.tests.kafka_topics import AUTHENTICATOR, as_record
from services.gateway.tests.story import ANN, interleavings

from crm_events import REGISTRY
from crm_events.envelope import Recorded
from crm_events.event import Event
from crm_events.topics import TOPICS
from crm_gateway.projections.customers import Customers
from crm_gateway.queries.customer import customer_records
from crm_gateway.queries.past import past_records
from crm_gateway.queries.selection import LiveRecords, Records
from crm_gateway.timeline_pages import TimelinePages
from crm_gateway.view import OpenedBlocks, compose, timeline_items
from crm_local.stack import Stack
from crm_platform import mongo
from crm_platform.cursor import Cursor
from crm_platform.delivery import Standing
from crm_platform.errors import NotFound
from crm_platform.generations import Generation
from crm_platform.inbound import Inbound, RecordReader
from crm_platform.keyring import Keyring
from crm_platform.past import Axis
from crm_platform.projection import Place
from crm_platform.projection_store import ProjectionStore
from crm_platform.read_model import ReadModel
from crm_platform.sealing import InstallationKey
from crm_platform.testing import SOME_TIME
from crm_platform.wakeup import Wakeup

BY_NAME = {topic.name: topic for topic in TOPICS}
SHOWN = 4
"""Items of the timeline in a view: few, so that where it is cut is part of what is compared."""
NOBODY = b"nobody"
Arrival = tuple[Place, Recorded[Event]]


class Archive:
    """The customers' read model in a database of its own, filled by hand."""

    def __init__(self, database: mongo.Database) -> None:
        generation = Generation(Customers())
        self.store = ProjectionStore(generation, database, partial(mongo.in_transaction, database.client))
        keyring = Keyring(database, InstallationKey(b"i" * 32), "", "", Wakeup())
        self._model = ReadModel(generation, database, REGISTRY, keyring)
        self._reader = RecordReader(REGISTRY, Customers.folds, AUTHENTICATOR)
        places = [TopicPartition(topic.name, n) for topic in Customers.topics for n in range(topic.partitions)]
        self._standing = Standing({place: Cursor() for place in places})
        self._arrived: dict[Place, int] = {}

    async def apply(self, arrivals: Sequence[Arrival]) -> None:
        progress = await self.store.apply([self._inbound(*arrival) for arrival in arrivals], self._standing)
        assert not progress.parked
        self._standing.advance(progress)

    def _inbound(self, place: Place, event: Recorded[Event]) -> Inbound:
        n = self._arrived[place] = self._arrived.get(place, 0) + 1
        record = as_record(BY_NAME[place.topic], n - 1, event, (n, n - 1), partition=place.partition)
        return self._reader.read(record)

    async def live(self) -> bytes:
        return await _written(LiveRecords(self._model))

    async def past(self, at: datetime, axis: Axis = Axis.RECORDED) -> bytes:
        try:
            return await _written(await past_records(self._model, str(ANN), at, axis))
        except NotFound:
            return NOBODY


async def _written(records: Records) -> bytes:
    """The view as it is sent, but for its freshness and what is sealed."""
    try:
        found = await customer_records(records, str(ANN), SHOWN)
    except NotFound:
        return NOBODY
    nothing = OpenedBlocks({})
    items = timeline_items(found.timeline, found.replies, nothing)
    view = compose(found, nothing, TimelinePages(b"k" * 32, str(ANN)).page(items, SHOWN), {})
    return orjson.dumps(view, option=orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z)


@asynccontextmanager
async def archive(stack: Stack) -> AsyncIterator[Archive]:
    client = mongo.connect(stack.addresses.mongodb_uri)
    name = f"t_{uuid4().hex}"
    try:
        opened = Archive(mongo.database(client, name))
        await opened.store.prepare()
        yield opened
    finally:
        await client.drop_database(name)
        client.close()


def _second(n: int) -> datetime:
    return SOME_TIME + timedelta(seconds=n)


def recorded_as_they_arrive(arrivals: Sequence[Arrival]) -> list[Arrival]:
    return [(place, replace(event, time=_second(n))) for n, (place, event) in enumerate(arrivals)]


slowly = settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@slowly
@given(interleavings(), st.data())
async def test_as_of_any_moment_is_what_the_live_view_was_byte_for_byte(
    stack: Stack, arrivals: list[Arrival], data: st.DataObject
) -> None:
    history = recorded_as_they_arrive(arrivals)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(history)), min_size=3, max_size=8)) | {len(history)})
    async with archive(stack) as kept:
        seen, done = {}, 0
        for cut in cuts:
            await kept.apply(history[done:cut])
            seen[cut], done = await kept.live(), cut
        for cut, then in seen.items():
            assert await kept.past(_second(cut - 1)) == then
        assert await kept.past(datetime.now(UTC), Axis.OCCURRED) == seen[len(history)] == await kept.live()


@slowly
@given(interleavings(), st.integers(0, 13))
async def test_as_of_what_was_true_is_a_fold_of_the_facts_that_were_true_then(
    stack: Stack, arrivals: list[Arrival], day: int
) -> None:
    history, at = recorded_as_they_arrive(arrivals), SOME_TIME + timedelta(days=day)
    true: list[Arrival] = []
    later: set[object] = set()
    for place, event in history:
        if event.data.occurred_at > at or event.subject in later:
            later.add(event.subject)
        else:
            true.append((place, event))
    async with archive(stack) as kept, archive(stack) as independent:
        await kept.apply(history)
        await independent.apply(true)
        assert await kept.past(at, Axis.OCCURRED) == await independent.live()


# -- through the front door


async def _captured(crm: Door, name: str) -> tuple[str, Any]:
    email = f"{uuid4().hex}@example.org"
    lead = {"party": {"email": email, "name": name}, "source": "web-form", "message": "Please call."}
    captured = (await crm.post("/api/leads", lead, role="sales")).expect(201)
    # Once sales has recorded whose lead it is, nothing happens to it by itself any more.
    (await crm.get(f"/api/leads/{captured.id}", after=captured.position)).expect(200)
    return captured.id, await crm.customer(after=captured.position, email=email)


def _without_freshness(view: Any) -> Any:
    return {name: section for name, section in view.items() if name != "freshness"}


async def test_a_customer_is_shown_as_it_was_before_the_last_change(crm: Door) -> None:
    lead, first = await _captured(crm, "Ada Then")
    customer = f"/api/customers/{first['contact_id']}"
    qualified = (await crm.post(f"/api/leads/{lead}/qualify", {"score": 70}, role="sales")).expect(200)
    before = (await crm.get(customer, after=qualified.position)).expect(200).body
    moment = datetime.now(UTC).isoformat()
    lost = (
        await crm.post(f"/api/leads/{lead}/disqualify", {"reason": "no_budget", "note": "Next year"}, role="sales")
    ).expect(200)
    now = (await crm.get(customer, after=lost.position)).expect(200).body
    assert (before["leads"][0]["stage"], now["leads"][0]["stage"]) == ("qualified", "disqualified")

    then = (await crm.get(customer, at=moment)).expect(200).body
    assert _without_freshness(then) == _without_freshness(before)
    today = (await crm.get(customer, at=datetime.now(UTC).isoformat(), axis="recorded")).expect(200).body
    assert _without_freshness(today) == _without_freshness(now)
    timeline = (await crm.get(f"{customer}/timeline", at=moment)).expect(200).body
    assert timeline["items"] == before["timeline"]["items"]


async def test_the_history_tells_each_change_with_who_why_and_what(crm: Door) -> None:
    lead, view = await _captured(crm, "Ada Story")
    done = (
        await crm.post(f"/api/leads/{lead}/disqualify", {"reason": "no_budget", "note": "Next year"}, role="sales")
    ).expect(200)
    path = f"/api/customers/{view['contact_id']}/history"
    history = (await crm.get(path, after=done.position)).expect(200).body["items"]
    by_type = {item["type"]: item for item in history}
    assert set(by_type) >= {
        "crm.contacts.ContactRegistered.v1",
        "crm.contacts.PartyResolved.v1",
        "crm.sales.LeadCaptured.v1",
        "crm.sales.LeadDisqualified.v1",
    }
    (changed,) = by_type["crm.sales.LeadDisqualified.v1"]["changed"]
    fields = {field["field"]: (field["before"], field["after"]) for field in changed["fields"]}
    assert (changed["record"], changed["id"]) == ("leads", lead)
    assert (fields["stage"], fields["reason"]) == (("new", "disqualified"), (None, "no_budget"))
    assert fields["note.text"] == (None, "Next year"), "what is sealed is told in the clear to those who may see it"
    resolved = by_type["crm.contacts.PartyResolved.v1"]
    assert resolved["cause"] == {"id": by_type["crm.sales.LeadCaptured.v1"]["id"], "type": "crm.sales.LeadCaptured.v1"}
    assert by_type["crm.sales.LeadCaptured.v1"]["actor"]
    assert by_type["crm.sales.LeadCaptured.v1"]["cause"]["type"] is None, "a command led to it"
    times = [item["recorded_at"] for item in history]
    assert times == sorted(times, reverse=True)

    paged, cursor = [], None
    while True:
        page = (await crm.get(path, limit="2", **({"cursor": cursor} if cursor else {}))).expect(200).body
        paged += page["items"]
        if (cursor := page["next"]) is None:
            break
    assert [item["id"] for item in paged[-len(history) :]] == [item["id"] for item in history]


@pytest.mark.parametrize(
    ("parameters", "status", "says"),
    [
        ({"at": "yesterday"}, 422, "ISO 8601"),
        ({"at": "2026-03-02"}, 422, "time zone"),
        ({"at": "2999-01-01T00:00:00Z"}, 422, "yet to come"),
        ({"at": "1999-01-01T00:00:00Z"}, 404, "the first fact about it was recorded"),
        ({"at": "1999-01-01T00:00:00Z", "axis": "occurred"}, 404, "the first fact about it is of"),
        ({"at": "2026-03-02T09:30:00Z", "axis": "sideways"}, 422, "axis"),
        ({"axis": "occurred"}, 422, "needs `at`"),
    ],
)
async def test_a_moment_that_cannot_be_answered_is_refused_with_its_reason(
    crm: Door, parameters: dict[str, str], status: int, says: str
) -> None:
    _, view = await _captured(crm, "Ada Refused")
    refusal = await crm.get(f"/api/customers/{view['contact_id']}", **parameters)
    assert refusal.is_problem(status), refusal
    assert says in str(refusal.body), refusal.body


async def test_a_history_cursor_of_another_customer_is_refused(crm: Door) -> None:
    (_, mine), (_, other) = await _captured(crm, "Ada Mine"), await _captured(crm, "Ada Other")
    page = (await crm.get(f"/api/customers/{mine['contact_id']}/history", limit="1")).expect(200).body
    refusal = await crm.get(f"/api/customers/{other['contact_id']}/history", cursor=page["next"])
    assert refusal.is_problem(400)
    assert (await crm.get("/api/customers/00000000-0000-4000-8000-00000000dead/history")).is_problem(404)
