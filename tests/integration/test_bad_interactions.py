"""Interactions over HTTP are taken or refused one by one, each refusal with its reason."""

import json
from typing import Any
from uuid import uuid4

import pytest
from at_rest import Accounts
from door import Door, Reply

PRIVATE = "wilhelmina"
"""Stands in every value that must not be repeated."""
MAIL: dict[str, Any] = {
    "external_id": "m-1",
    "occurred_at": "2026-03-01T10:00:00Z",
    "channel": "email",
    "direction": "inbound",
    "party": {"email": "ann@example.org"},
}
ORDER = {**MAIL, "channel": "order", "attributes": {"amount": "1.00", "currency": "EUR"}}
BAD: dict[str, tuple[Any, str, str]] = {
    "no object": (PRIVATE, "", "object"),
    "nothing": ({}, "/external_id", "required"),
    "unknown member": ({**MAIL, "colour": PRIVATE}, "/colour", "not permitted"),
    "unknown channel": ({**MAIL, "channel": PRIVATE}, "/channel", "'email'"),
    "unknown direction": ({**MAIL, "direction": PRIVATE}, "/direction", "'inbound'"),
    "no party": ({**MAIL, "party": {}}, "/party", "needs one of"),
    "party of nobody": ({**MAIL, "party": {"email": PRIVATE}}, "/party/email", "name@domain"),
    "number of nobody": ({**MAIL, "party": {"phone": "12"}}, "/party/phone", "country code"),
    "no time zone": ({**MAIL, "occurred_at": "2026-03-01T10:00:00"}, "/occurred_at", "timezone"),
    "no moment": ({**MAIL, "occurred_at": PRIVATE}, "/occurred_at", "ISO 8601"),
    "in the future": ({**MAIL, "occurred_at": "2999-01-01T00:00:00Z"}, "/occurred_at", "in the future"),
    "text is a number": ({**MAIL, "subject": 7}, "/subject", "string"),
    "order without amount": ({**ORDER, "attributes": {"currency": "EUR"}}, "", "attributes.amount"),
    "too many decimals": ({**ORDER, "attributes": {"amount": "1.999", "currency": "EUR"}}, "", "attributes.amount"),
    "campaign is no id": ({**MAIL, "attributes": {"campaign_id": PRIVATE}}, "", "UUID"),
    "deep": ({**MAIL, "attributes": json.loads('{"a":' * 500 + "1" + "}" * 500)}, "", "nested"),
    "above 256 KiB": ({**MAIL, "body": "ü" * 140_000}, "", "262144"),
}


async def _send(crm: Door, *items: Any, source: str = "mailbox") -> Reply:
    return await crm.post("/api/interactions", {"source": source, "interactions": list(items)}, role="adapter")


@pytest.mark.parametrize(("item", "pointer", "reason"), BAD.values(), ids=BAD.keys())
async def test_an_interaction_outside_the_contract_is_refused_with_its_reason(
    crm: Door, accounts: Accounts, item: Any, pointer: str, reason: str
) -> None:
    async with accounts.nothing_stored():
        reply = (await _send(crm, item)).expect(200)
    (result,) = reply.body["results"]
    assert (result["accepted"], reply.body["refused"]) == (False, 1)
    assert any(error["pointer"] == pointer and reason in error["message"] for error in result["errors"]), result
    assert PRIVATE not in json.dumps(reply.body)
    assert not reply.position


async def test_more_than_two_thousand_at_a_time_are_refused_whole(crm: Door, accounts: Accounts) -> None:
    items = [{**MAIL, "external_id": f"{PRIVATE}-{number}"} for number in range(2_001)]
    async with accounts.nothing_stored():
        reply = await _send(crm, *items)
    assert reply.is_problem(422)
    assert [error["pointer"] for error in reply.body["errors"]] == ["/interactions"]
    assert PRIVATE not in json.dumps(reply.body)


async def test_of_a_mixed_batch_the_good_are_taken_and_each_bad_one_has_its_reason(
    crm: Door, accounts: Accounts
) -> None:
    run = uuid4().hex
    good = [{**MAIL, "external_id": f"{run}-{n}", "party": {"handle": f"@{run}"}, "subject": f"{n}"} for n in range(3)]
    before = await accounts.at_rest()
    bad = [item for item, _, _ in BAD.values()]
    reply = (await _send(crm, good[0], *bad[:6], good[1], *bad[6:], good[2])).expect(202)

    results = reply.body["results"]
    assert [result["index"] for result in results] == list(range(len(bad) + 3))
    assert [result["index"] for result in results if result["accepted"]] == [0, 7, len(bad) + 2]
    assert all(result["errors"] for result in results if not result["accepted"])
    assert (reply.body["accepted"], reply.body["refused"]) == (3, len(bad))

    view = await crm.customer(after=reply.position, handle=f"@{run}")
    assert sorted(item["content"]["subject"] for item in view["timeline"]["items"]) == ["0", "1", "2"]
    after = await accounts.at_rest()
    assert after.records("crm.interactions") - before.records("crm.interactions") == 3


async def test_a_batch_sent_again_counts_once(crm: Door, accounts: Accounts) -> None:
    run = uuid4().hex
    item = {**MAIL, "external_id": run, "party": {"handle": f"@{run}"}}
    first = (await _send(crm, item, item)).expect(202)
    await crm.customer(after=first.position, handle=f"@{run}")
    before = await accounts.at_rest()
    again = (await _send(crm, item)).expect(202)
    assert again.position == first.position.split()[0]
    assert (await accounts.at_rest()).events == before.events
    view = await crm.customer(handle=f"@{run}")
    assert len(view["timeline"]["items"]) == 1


async def test_a_cursor_of_one_timeline_is_no_good_for_another(crm: Door) -> None:
    run = uuid4().hex
    items = [{**MAIL, "external_id": f"{run}-{n}", "party": {"handle": f"@{run}"}} for n in range(51)]
    taken = (await _send(crm, *items)).expect(202)
    logged = " ".join(f"{result['id']}@1" for result in taken.body["results"])
    view = await crm.customer(after=logged, handle=f"@{run}")
    cursor = view["timeline"]["next"]
    path = f"/api/customers/{view['contact_id']}/timeline"
    (await crm.get(path, cursor=cursor)).expect(200)
    nobody = "/api/customers/00000000-0000-4000-8000-00000000dead/timeline"
    assert (await crm.get(nobody, cursor=cursor)).is_problem(400)
    assert (await crm.get(path, cursor=cursor[:-1])).is_problem(400)
    assert (await crm.get(nobody)).is_problem(404)
    for limit in ("0", "201"):
        assert (await crm.get(path, limit=limit)).is_problem(422)


async def test_a_timeline_can_be_read_page_by_page_from_its_start(crm: Door) -> None:
    run = uuid4().hex
    items = [{**MAIL, "external_id": f"{run}-{n}", "party": {"handle": f"@{run}"}} for n in range(5)]
    taken = (await _send(crm, *items)).expect(202)
    view = await crm.customer(after=taken.position, handle=f"@{run}")
    path = f"/api/customers/{view['contact_id']}/timeline"

    assert (await crm.get(path)).expect(200).body == view["timeline"]
    first = (await crm.get(path, limit="3")).expect(200).body
    rest = (await crm.get(path, limit="3", cursor=first["next"])).expect(200).body

    assert (len(first["items"]), rest["next"]) == (3, None)
    assert first["items"] + rest["items"] == view["timeline"]["items"]
