"""What the HTTP door refuses, it refuses clearly, stores nothing of it, and repeats none of its values."""

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest
from at_rest import Accounts
from door import Door, Reply
from ledger import stored_events

from crm_events.topics import MAX_RECORD_BYTES

NOBODY = "00000000-0000-4000-8000-00000000dead"
PRIVATE = "wilhelmina"
"""Stands in every value that must not be repeated."""
JSON = {"Content-Type": "application/json"}

PARTY = {"email": "ann@example.org"}
LEAD = {"party": PARTY, "source": "web"}
TICKET = {"party": PARTY, "channel": "email", "subject": "Help"}
CAMPAIGN = {"name": "Spring", "channel": "email"}
CONTACT = {"name": "Ann"}
MONEY = {"amount": "10.00", "currency": "EUR"}

DOORS = ("/api/leads", "/api/tickets", "/api/contacts", "/api/campaigns", "/api/interactions")


class Refusals:
    """Requests of an admin that must be refused, and leave nothing behind in any store or topic."""

    def __init__(self, crm: Door, accounts: Accounts) -> None:
        self._crm = crm
        self._accounts = accounts

    async def post(self, path: str, status: int, headers: Mapping[str, str] | None = None, **body: Any) -> Reply:
        return await self.send("POST", path, status, headers, **body)

    async def send(
        self, method: str, path: str, status: int, headers: Mapping[str, str] | None = None, **body: Any
    ) -> Reply:
        async with self._accounts.nothing_stored():
            reply = await self._crm.send(method, path, role="admin", headers=headers or {}, **body)
        assert reply.is_problem(status), f"{reply.status}: {reply.body}"
        assert PRIVATE not in json.dumps(reply.body), "a refusal repeats no value"
        return reply


@pytest.fixture
def refused(crm: Door, accounts: Accounts) -> Refusals:
    return Refusals(crm, accounts)


@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"source": "wilhelmina",', 400),
        (b'{"source": "wilhelmina\xff"}', 400),
        (b"[" * 100_000, 400),
        (b'{"source": ' + b"7" * 5_000 + b"}", 400),
        (b'{"source": "' + b"x" * 17_000_000 + b'"}', 413),
    ],
    ids=["cut off", "not UTF-8", "nested without end", "a number without end", "too long"],
)
async def test_a_body_that_cannot_be_read_is_refused(refused: Refusals, path: str, body: bytes, status: int) -> None:
    await refused.post(path, status, JSON, data=body)


@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml"])
async def test_a_body_of_another_content_type_is_refused(refused: Refusals, path: str, content_type: str) -> None:
    body = json.dumps({**LEAD, "source": PRIVATE}).encode()
    await refused.post(path, 415, {"Content-Type": content_type}, data=body)


async def test_a_command_above_256_kib_is_refused_also_when_it_does_not_say_how_long_it_is(refused: Refusals) -> None:
    async def chunks() -> Any:
        yield json.dumps({**LEAD, "message": PRIVATE})[:-2].encode()
        for _ in range(5):
            yield b"x" * 60_000
        yield b'"}'

    lead = {**LEAD, "message": PRIVATE + "x" * MAX_RECORD_BYTES}
    await refused.post("/api/leads", 413, json=lead)
    await refused.post("/api/leads", 413, JSON, data=chunks())


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("/api/leads", {**LEAD, "colour": PRIVATE}, "/colour"),
        ("/api/leads", {**LEAD, "party": {**PARTY, "colour": PRIVATE}}, "/party/colour"),
        ("/api/tickets", {**TICKET, "colour": PRIVATE}, "/colour"),
        ("/api/campaigns", {**CAMPAIGN, "colour": PRIVATE}, "/colour"),
        ("/api/contacts", {**CONTACT, "colour": PRIVATE}, "/colour"),
        ("/api/contacts", {**CONTACT, "addresses": [{"colour": PRIVATE}]}, "/addresses/0/colour"),
        (f"/api/leads/{NOBODY}/convert", {"value": {**MONEY, "colour": PRIVATE}}, "/value/colour"),
        (f"/api/tickets/{NOBODY}/resolve", {"colour": PRIVATE}, "/colour"),
        ("/api/interactions", {"source": "mail", "interactions": [{}], "colour": PRIVATE}, "/colour"),
    ],
)
async def test_an_unknown_member_is_refused_by_its_name(
    refused: Refusals, path: str, body: dict[str, Any], pointer: str
) -> None:
    reply = await refused.post(path, 422, json=body)
    assert [error["pointer"] for error in reply.body["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("/api/leads", [PRIVATE], ""),
        ("/api/leads", None, ""),
        ("/api/leads", {"party": PARTY}, "/source"),
        ("/api/leads", {**LEAD, "source": {"text": PRIVATE}}, "/source"),
        ("/api/leads", {**LEAD, "party": PRIVATE}, "/party"),
        ("/api/leads", {**LEAD, "party": {"email": [PRIVATE]}}, "/party/email"),
        ("/api/leads", {**LEAD, "party": {"contact_id": PRIVATE}}, "/party/contact_id"),
        ("/api/leads", {**LEAD, "occurred_at": PRIVATE}, "/occurred_at"),
        ("/api/leads", {**LEAD, "occurred_at": "2026-03-01T10:00:00"}, "/occurred_at"),
        ("/api/leads", {**LEAD, "message": ""}, "/message"),
        ("/api/leads", {"source": "web"}, "/party"),
        ("/api/leads", {"source": "web", "party": {}}, "/party"),
        (f"/api/leads/{NOBODY}/qualify", {"score": PRIVATE}, "/score"),
        (f"/api/leads/{NOBODY}/qualify", {"score": 101}, "/score"),
        (f"/api/leads/{NOBODY}/convert", {"value": {**MONEY, "amount": PRIVATE}}, "/value/amount"),
        (f"/api/leads/{NOBODY}/convert", {"value": {**MONEY, "amount": "-1"}}, "/value/amount"),
        (f"/api/leads/{NOBODY}/convert", {"value": {**MONEY, "amount": "1.999"}}, "/value/amount"),
        (f"/api/leads/{NOBODY}/convert", {"value": {**MONEY, "currency": PRIVATE}}, "/value/currency"),
        (f"/api/opportunities/{NOBODY}/stage", {"stage": PRIVATE}, "/stage"),
        ("/api/tickets", {**TICKET, "channel": PRIVATE}, "/channel"),
        ("/api/tickets", {**TICKET, "priority": PRIVATE}, "/priority"),
        ("/api/tickets", {"channel": "email", "subject": PRIVATE}, "/party"),
        ("/api/tickets", {**TICKET, "party": {}}, "/party"),
        ("/api/campaigns", {**CAMPAIGN, "channel": PRIVATE}, "/channel"),
        (f"/api/campaigns/{NOBODY}/enrol", {"contact_id": PRIVATE}, "/contact_id"),
        ("/api/contacts", {}, ""),
        ("/api/contacts", {**CONTACT, "birth_date": PRIVATE}, "/birth_date"),
        ("/api/contacts", {"identifiers": [{"kind": PRIVATE, "value": PRIVATE}]}, "/identifiers/0/kind"),
        ("/api/contacts", {"identifiers": [{"kind": "reference", "value": PRIVATE}]}, ""),
        ("/api/interactions", {"source": "mail", "interactions": PRIVATE}, "/interactions"),
        ("/api/interactions", {"source": "mail", "interactions": []}, "/interactions"),
        ("/api/interactions", {"source": f"{PRIVATE}\n", "interactions": [{}]}, "/source"),
    ],
)
async def test_a_member_that_is_not_what_it_should_be_is_refused_by_its_name(
    refused: Refusals, path: str, body: object, pointer: str
) -> None:
    reply = await refused.post(path, 422, json=body)
    assert [error["pointer"] for error in reply.body["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/contacts", {"identifiers": [{"kind": "email", "value": PRIVATE}]}),
        ("/api/contacts", {"identifiers": [{"kind": "phone", "value": "12"}]}),
        ("/api/leads", {**LEAD, "party": {"email": PRIVATE}}),
        ("/api/leads", {**LEAD, "party": {"phone": "12"}}),
        ("/api/tickets", {**TICKET, "party": {"email": PRIVATE}}),
    ],
)
async def test_an_identifier_that_identifies_nobody_is_refused(refused: Refusals, path: str, body: object) -> None:
    reply = await refused.post(path, 422, json=body)
    assert reply.body["type"] == "urn:crm:problem:not-an-identifier"


@pytest.mark.parametrize("id_", [NOBODY, PRIVATE])
@pytest.mark.parametrize(
    "path",
    [
        "/api/contacts/{}",
        "/api/leads/{}",
        "/api/opportunities/{}",
        "/api/tickets/{}",
        "/api/tickets/{}/replies",
        "/api/campaigns/{}",
        "/api/customers/{}",
    ],
)
async def test_a_read_of_an_unknown_id_is_not_found(crm: Door, path: str, id_: str) -> None:
    reply = await crm.get(path.format(id_))
    assert reply.is_problem(404)
    assert PRIVATE not in json.dumps(reply.body)


async def test_a_customer_is_not_found_by_an_identifier_of_nobody(crm: Door) -> None:
    reply = await crm.get("/api/customers", email=f"{PRIVATE}@example.org")
    assert reply.is_problem(404)
    assert PRIVATE not in json.dumps(reply.body)


@pytest.mark.parametrize(
    "parameters",
    [{}, {"email": PRIVATE}, {"phone": "12"}, {"email": f"{PRIVATE}@example.org", "handle": PRIVATE}],
)
async def test_a_customer_is_looked_up_by_exactly_one_good_identifier(crm: Door, parameters: dict[str, str]) -> None:
    reply = await crm.get("/api/customers", **parameters)
    assert reply.is_problem(422)
    assert PRIVATE not in json.dumps(reply.body)


COMMANDS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("leads", "qualify", {"score": 80}),
    ("leads", "disqualify", {"reason": "not_interested"}),
    ("leads", "convert", {"value": MONEY}),
    ("opportunities", "stage", {"stage": "proposal"}),
    ("opportunities", "win", {}),
    ("opportunities", "lose", {"reason": "price"}),
    ("tickets", "assign", {"agent": "agent-7"}),
    ("tickets", "reply", {"body": PRIVATE}),
    ("tickets", "resolve", {}),
    ("tickets", "reopen", {}),
    ("campaigns", "launch", {}),
    ("campaigns", "enrol", {"contact_id": NOBODY}),
)


@pytest.mark.parametrize("id_", [NOBODY, PRIVATE])
@pytest.mark.parametrize(("resource", "action", "body"), COMMANDS)
async def test_a_command_to_an_unknown_id_is_not_found(
    refused: Refusals, resource: str, action: str, body: dict[str, Any], id_: str
) -> None:
    await refused.post(f"/api/{resource}/{id_}/{action}", 404, json=body)


async def test_a_change_of_an_unknown_contact_is_not_found(refused: Refusals) -> None:
    await refused.send("PATCH", f"/api/contacts/{NOBODY}", 404, {"If-Match": "*"}, json={"name": PRIVATE})


async def test_an_id_of_something_else_is_not_found(crm: Door, refused: Refusals) -> None:
    campaign = (await crm.post("/api/campaigns", CAMPAIGN, role="marketing")).expect(201)
    lead = (await crm.post("/api/leads", LEAD, role="sales")).expect(201)
    await refused.post(f"/api/leads/{campaign.id}/qualify", 404, json={"score": 80})
    await refused.post(f"/api/opportunities/{lead.id}/win", 404, json={})
    assert (await crm.get(f"/api/customers/{lead.id}", after=lead.position)).is_problem(404)


async def test_a_change_names_the_version_that_it_is_made_to(crm: Door, refused: Refusals) -> None:
    contact = (await crm.post("/api/contacts", CONTACT, role="sales")).expect(201)
    path, change = f"/api/contacts/{contact.id}", {"name": PRIVATE}

    await refused.send("PATCH", path, 428, json=change)
    await refused.send("PATCH", path, 412, {"If-Match": '"2"'}, json=change)
    for malformed in ("1", 'W/"1"', '"1", "2"', PRIVATE):
        await refused.send("PATCH", path, 400, {"If-Match": malformed}, json=change)
    changed = await crm.patch(path, change, role="sales", headers={"If-Match": contact.headers["ETag"]})
    assert changed.expect(200).body["version"] == 2


async def test_a_command_that_names_another_version_is_refused(crm: Door, refused: Refusals) -> None:
    lead = (await crm.post("/api/leads", LEAD, role="sales")).expect(201)
    await crm.get(f"/api/leads/{lead.id}", after=lead.position)
    await refused.post(f"/api/leads/{lead.id}/qualify", 412, {"If-Match": '"9"'}, json={"score": 80})


async def test_what_a_lead_is_no_longer_open_to_is_refused(crm: Door, refused: Refusals) -> None:
    async def lead_after(*steps: tuple[str, dict[str, Any]]) -> str:
        lead = (await crm.post("/api/leads", LEAD, role="sales")).expect(201)
        for action, body in steps:
            (await crm.post(f"/api/leads/{lead.id}/{action}", body, role="sales")).expect(200)
        return lead.id

    qualify, disqualify, convert = ((action, body) for resource, action, body in COMMANDS if resource == "leads")
    illegal = (
        (await lead_after(), (convert,)),
        (await lead_after(disqualify), (qualify, disqualify, convert)),
        (await lead_after(qualify, convert), (qualify, disqualify, convert)),
    )
    for lead, steps in illegal:
        for action, body in steps:
            await refused.post(f"/api/leads/{lead}/{action}", 409, json=body)


@pytest.mark.parametrize("end", [("win", {}), ("lose", {"reason": "price"})], ids=["won", "lost"])
async def test_an_opportunity_that_is_closed_stays_as_it_is(
    crm: Door, refused: Refusals, end: tuple[str, dict[str, Any]]
) -> None:
    lead = (await crm.post("/api/leads", LEAD, role="sales")).expect(201)
    (await crm.post(f"/api/leads/{lead.id}/qualify", {"score": 80}, role="sales")).expect(200)
    converted = (await crm.post(f"/api/leads/{lead.id}/convert", {"value": MONEY}, role="sales")).expect(200)
    deal = (await crm.get(f"/api/leads/{lead.id}", after=converted.position)).expect(200).body["opportunity_id"]
    action, body = end
    (await crm.post(f"/api/opportunities/{deal}/{action}", body, role="sales")).expect(200)

    for resource, again, said in COMMANDS:
        if resource == "opportunities":
            await refused.post(f"/api/opportunities/{deal}/{again}", 409, json=said)


async def test_a_ticket_is_resolved_and_reopened_in_turn(crm: Door, refused: Refusals) -> None:
    ticket = f"/api/tickets/{(await crm.post('/api/tickets', TICKET, role='service')).expect(201).id}"
    await refused.post(f"{ticket}/reopen", 409, json={})
    (await crm.post(f"{ticket}/resolve", {}, role="service")).expect(200)
    await refused.post(f"{ticket}/resolve", 409, json={})
    await refused.post(f"{ticket}/assign", 409, json={"agent": PRIVATE})
    await refused.post(f"{ticket}/reply", 409, json={"body": PRIVATE})


async def test_a_campaign_is_launched_once_and_takes_nobody_before(crm: Door, refused: Refusals) -> None:
    campaign = f"/api/campaigns/{(await crm.post('/api/campaigns', CAMPAIGN, role='marketing')).expect(201).id}"
    await refused.post(f"{campaign}/enrol", 409, json={"contact_id": NOBODY})
    (await crm.post(f"{campaign}/launch", {}, role="marketing")).expect(200)
    await refused.post(f"{campaign}/launch", 409, json={})


async def test_an_identifier_belongs_to_one_contact(crm: Door, refused: Refusals) -> None:
    taken = {"identifiers": [{"kind": "email", "value": f"{PRIVATE}@example.org"}]}
    (await crm.post("/api/contacts", taken, role="sales")).expect(201)
    await refused.post("/api/contacts", 409, json=taken)


async def test_a_repeated_key_is_answered_with_the_same_answer_and_stores_nothing_more(
    crm: Door, refused: Refusals, accounts: Accounts
) -> None:
    key = {"Idempotency-Key": f"repeated-{uuid4()}"}
    first = (await crm.post("/api/leads", LEAD, role="admin", headers=key)).expect(201)
    async with accounts.nothing_stored():
        again = (await crm.post("/api/leads", LEAD, role="admin", headers=key)).expect(201)
    assert (again.body, again.position, again.headers["ETag"]) == (first.body, first.position, first.headers["ETag"])

    other = await refused.post("/api/leads", 422, key, json={**LEAD, "source": PRIVATE})
    assert other.body["type"] == "urn:crm:problem:idempotency-key-reused"
    await refused.post("/api/leads", 400, {"Idempotency-Key": f"{PRIVATE} with spaces"}, json=LEAD)


async def test_fifty_equal_requests_at_once_are_one_command(crm: Door) -> None:
    key = {"Idempotency-Key": f"at-once-{uuid4()}"}
    replies = await asyncio.gather(
        *(crm.post("/api/campaigns", CAMPAIGN, role="marketing", headers=key) for _ in range(50))
    )
    assert {reply.expect(201).id for reply in replies} == {replies[0].id}
    assert {reply.position for reply in replies} == {replies[0].position}
    stored = [e for _, e in stored_events(crm.stack, "marketing") if str(e.subject) == replies[0].id]
    assert len(stored) == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/api/nothing", 404),
        ("POST", "/api/leads/", 404),
        ("GET", f"/api/leads/{NOBODY}/{PRIVATE}", 404),
        ("DELETE", "/api/leads", 405),
        ("PUT", "/api/contacts", 405),
        ("GET", "/api/interactions", 405),
        ("POST", "/api/customers", 405),
        ("GET", f"/api/leads/{NOBODY}/qualify", 405),
        ("POST", "/api/kpis", 405),
    ],
)
async def test_a_path_or_method_that_does_not_exist_is_refused(
    refused: Refusals, method: str, path: str, status: int
) -> None:
    await refused.send(method, path, status)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/api/leads", {"GET", "POST"}), ("/api/interactions", {"POST"}), (f"/api/contacts/{NOBODY}", {"GET", "PATCH"})],
)
async def test_a_wrong_method_is_answered_with_the_right_ones(refused: Refusals, path: str, allowed: set[str]) -> None:
    reply = await refused.send("DELETE", path, 405)
    assert {method.strip() for method in reply.headers["Allow"].split(",")} - {"HEAD"} == allowed


@pytest.mark.parametrize(
    "parameters", [{"limit": "0"}, {"limit": "201"}, {"limit": PRIVATE}, {"stage": PRIVATE}, {"cursor": "x" * 513}]
)
async def test_a_query_that_does_not_fit_the_contract_is_refused(crm: Door, parameters: dict[str, str]) -> None:
    reply = await crm.get("/api/leads", **parameters)
    assert reply.is_problem(422)
    assert [error["parameter"] for error in reply.body["errors"]] == list(parameters)
    assert PRIVATE not in json.dumps(reply.body)


async def test_a_cursor_is_good_for_the_query_that_gave_it_and_for_no_other(crm: Door) -> None:
    for _ in range(2):
        lead = (await crm.post("/api/leads", LEAD, role="sales")).expect(201)
    page = await crm.get("/api/leads", after=lead.position, limit="1", source="web")
    cursor: str = page.expect(200).body["next"]

    (await crm.get("/api/leads", cursor=cursor, source="web")).expect(200)
    flipped = [cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :] for at in range(len(cursor))]
    for tampered in (*flipped, cursor[:-1], cursor + "A", cursor + "=", cursor[:8], PRIVATE, "ü"):
        reply = await crm.get("/api/leads", cursor=tampered, source="web")
        assert reply.is_problem(400), tampered
        assert PRIVATE not in json.dumps(reply.body)
    for path, filters in (("/api/leads", {}), ("/api/leads", {"source": "call"}), ("/api/contacts", {"source": "web"})):
        assert (await crm.get(path, cursor=cursor, **filters)).is_problem(400), f"{path} {filters}"
    assert (await crm.get(f"/api/customers/{NOBODY}/timeline", cursor=cursor)).is_problem(400)


@pytest.mark.parametrize("path", ["/api/leads", "/api/kpis", f"/api/customers/{NOBODY}"])
@pytest.mark.parametrize(
    "position",
    [
        PRIVATE,
        "crm.sales/0",
        "crm.sales/0@-1",
        "crm.sales/0@1,crm.sales/1@1",
        f"crm.sales/0@{'9' * 19}",
        f"{NOBODY}@",
        " ".join(["crm.sales/0@1"] * 65),
    ],
)
async def test_a_malformed_position_is_refused(crm: Door, path: str, position: str) -> None:
    reply = await crm.get(path, after=position)
    assert reply.is_problem(400)
    assert PRIVATE not in json.dumps(reply.body)


async def test_a_position_that_never_comes_is_waited_for_five_seconds(crm: Door) -> None:
    began = time.monotonic()
    replies = await asyncio.gather(
        crm.get("/api/leads", after="crm.sales/0@999999999"),
        crm.get("/api/tickets", after="crm.service/5@999999999"),
        crm.get("/api/kpis", after="crm.sales/0@999999999"),
        crm.get(f"/api/customers/{NOBODY}", after="crm.contacts/0@999999999"),
        crm.get(f"/api/customers/{NOBODY}", after=f"{NOBODY}@1"),
    )
    assert 5 <= time.monotonic() - began < 6.5
    for reply in replies:
        assert reply.is_problem(503)
        assert int(reply.headers["Retry-After"]) >= 1


async def test_no_log_repeats_what_was_refused(crm: Door, refused: Refusals) -> None:
    await refused.post("/api/leads", 422, json={**LEAD, "party": {"email": [PRIVATE]}})
    await refused.post("/api/leads", 400, JSON, data=f'{{"source": "{PRIVATE}'.encode())
    await refused.post("/api/contacts", 422, json={"identifiers": [{"kind": "email", "value": PRIVATE}]})
    for part in ("gateway", "contacts", "sales", "service", "marketing", "analytics"):
        log = crm.stack.log(part)
        assert '"request"' in log or "request" in log, f"{part} logs its requests"
        assert PRIVATE not in log, f"the log of {part} repeats it"
