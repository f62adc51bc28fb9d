"""A person's data is erased by two persons, in every service, for good; what was counted stays counted."""

from uuid import uuid4

from at_rest import Accounts
from door import Door
from person import Person, ask_for_erasure, erased, erasure_completed, erasure_of

SERVICES = ["analytics", "contacts", "gateway", "marketing", "sales", "service"]


async def test_two_persons_erase_and_every_service_acknowledges(crm: Door) -> None:
    ada, bob = Person(crm), Person(crm)
    await ada.tells()
    await bob.tells()
    before = await ada.view()
    (await ask_for_erasure(crm, ada.contact_id, "maya.lind", ground="consent_withdrawn")).expect(202)
    asked = (await ask_for_erasure(crm, ada.contact_id, "jon.abbott")).expect(202)
    proof = await erasure_completed(crm, ada.contact_id)

    assert (proof["ground"], proof["requested_by"], proof["confirmed_by"]) == (
        "consent_withdrawn", "maya.lind", "jon.abbott",
    )  # fmt: skip
    for step in ("destroy", "forget"):
        assert sorted(each["service"] for each in proof["acknowledgements"] if each["step"] == step) == SERVICES
    after = (await crm.get(f"/api/customers/{ada.contact_id}", after=asked.position)).expect(200).body
    assert (after["erased"], after["profile"], after["identifiers"]) == (True, None, [])
    assert after["totals"] == before["totals"]
    assert not [words for words in (*ada.words.values(), ada.email) if words in str(after)]
    assert [bob.email] == [each["value"] for each in (await bob.view())["identifiers"]], "nobody else is touched"


async def test_what_followed_from_an_erasure_is_traced(crm: Door) -> None:
    ada = Person(crm)
    await ada.tells()
    await erased(crm, ada.contact_id)
    asked = {"type": "crm.contacts.ContactErased", "customer": ada.contact_id}
    (confirmed,) = (await crm.get("/api/events", role="admin", **asked)).expect(200).body["items"]
    trace = (await crm.get(f"/api/events/{confirmed['id']}/trace", role="admin")).expect(200).body
    types = [each["type"].split(".")[2] for each in trace["effects"]]
    assert types == ["ErasureAcknowledged"] * 2 * len(SERVICES) + ["ErasureCompleted"]
    assert trace["customers"] == [ada.contact_id]


async def test_nothing_that_was_said_is_found_at_any_door(crm: Door) -> None:
    ada = Person(crm)
    await ada.tells()
    planted = [*ada.words.values(), ada.email]
    await erased(crm, ada.contact_id)
    answers = [
        (await crm.get(f"/api/contacts/{ada.contact_id}", role="sales")).expect(200),
        (await crm.get(f"/api/leads/{ada.lead_id}", role="sales")).expect(200),
        (await crm.get(f"/api/tickets/{ada.ticket_id}", role="service")).expect(200),
        (await crm.get(f"/api/customers/{ada.contact_id}/history", role="sales")).expect(200),
        (await crm.get(f"/api/customers/{ada.contact_id}/timeline", role="sales")).expect(200),
        (await ada.export()).expect(200),
        (await crm.get("/api/events", role="admin", customer=ada.contact_id, personal="open")).expect(200),
    ]
    assert not [words for words in planted for answer in answers if words in str(answer.body)]
    assert (await crm.get("/api/customers", email=ada.email)).is_problem(404), "nobody is found by the address any more"


async def test_one_person_alone_erases_nobody(crm: Door) -> None:
    ada = Person(crm)
    await ada.tells()
    asked = (await ask_for_erasure(crm, ada.contact_id, "maya.lind")).expect(202)
    again = await ask_for_erasure(crm, ada.contact_id, "maya.lind")
    assert again.is_problem(409)
    assert "second person" in again.body["detail"]
    assert (await erasure_of(crm, ada.contact_id, asked.position))["state"] == "requested"
    assert (await ada.view())["profile"]["name"] == ada.words["name"]


async def test_a_request_that_was_withdrawn_cannot_be_confirmed(crm: Door) -> None:
    ada = Person(crm)
    await ada.tells()
    (await ask_for_erasure(crm, ada.contact_id, "maya.lind")).expect(202)
    withdraw = f"/api/contacts/{ada.contact_id}/erasure/withdraw"
    (await crm.of("jon.abbott").post(withdraw, {}, role="privacy")).expect(200)
    assert (await crm.of("jon.abbott").post(withdraw, {}, role="privacy")).is_problem(409)
    asked = (await ask_for_erasure(crm, ada.contact_id, "jon.abbott")).expect(202)
    assert (await erasure_of(crm, ada.contact_id, asked.position))["requested_by"] == "jon.abbott"
    assert not (await ada.view())["erased"], "that was the first request again"


async def test_an_erasure_is_refused_where_there_is_nothing_to_erase(crm: Door) -> None:
    ada = Person(crm)
    await ada.tells()
    await erased(crm, ada.contact_id)
    repeated = await ask_for_erasure(crm, ada.contact_id, "maya.lind")
    assert repeated.is_problem(409)
    assert "already" in repeated.body["detail"]
    assert (await ask_for_erasure(crm, str(uuid4()), "maya.lind")).is_problem(404)
    assert (await ask_for_erasure(crm, "nobody", "maya.lind")).is_problem(404)
    assert (await ask_for_erasure(crm, ada.contact_id, "maya.lind", ground="because")).is_problem(422)
    nowhere = f"/api/contacts/{uuid4()}/erasure"
    assert (await crm.get(nowhere, role="privacy")).is_problem(404)


async def test_only_the_right_of_its_own_erases(crm: Door) -> None:
    ada = Person(crm)
    await ada.tells()
    for role in ("sales", "service", "marketing", "analyst", "admin", "adapter"):
        asked = await crm.of("maya.lind").post(f"/api/contacts/{ada.contact_id}/erase", {}, role=role)
        assert asked.is_problem(403), role
        assert (await crm.get("/api/erasures", role=role)).is_problem(403), role


async def test_what_is_erased_takes_nothing_personal_any_more(crm: Door) -> None:
    ada = Person(crm)
    await ada.tells()
    await erased(crm, ada.contact_id)
    contact = (await crm.get(f"/api/contacts/{ada.contact_id}", role="sales")).expect(200)
    changed = await crm.patch(
        f"/api/contacts/{ada.contact_id}", {"name": "Ada"}, role="sales", headers={"If-Match": contact.headers["ETag"]}
    )
    assert changed.is_problem(410)
    reply = {"author": "agent", "body": "Are you there?"}
    assert (await crm.post(f"/api/tickets/{ada.ticket_id}/reply", reply, role="service")).is_problem(410)
    (await crm.post(f"/api/tickets/{ada.ticket_id}/resolve", {}, role="service")).expect(200)


async def test_who_comes_again_is_somebody_new_and_what_happened_before_stays_out(
    crm: Door, accounts: Accounts
) -> None:
    ada = Person(crm)
    await ada.tells()
    await erased(crm, ada.contact_id)
    await _writes_to_us(crm, ada.email, "2026-01-06T10:00:00Z")
    await accounts.at_rest()
    assert (await crm.get("/api/customers", email=ada.email)).is_problem(404), "an old fact brings nobody back"
    by_id = {"party": {"contact_id": ada.contact_id}, "source": "web-form"}
    captured = (await crm.post("/api/leads", by_id, role="sales")).expect(201)
    lead = (await crm.get(f"/api/leads/{captured.id}", role="sales", after=captured.position)).expect(200).body
    assert (lead["contact_id"], lead["party_unknown"]) == (None, "erased")
    by_address = {"party": {"email": ada.email}, "source": "web-form"}
    anew = (await crm.post("/api/leads", by_address, role="sales")).expect(201)
    someone = await crm.customer(after=anew.position, email=ada.email)
    assert someone["contact_id"] != ada.contact_id


async def _writes_to_us(crm: Door, address: str, at: str) -> None:
    """An e-mail that an adapter hands in."""
    mail = {
        "external_id": uuid4().hex,
        "channel": "email",
        "direction": "inbound",
        "party": {"email": address},
        "occurred_at": at,
    }
    (await crm.post("/api/interactions", {"source": "mail", "interactions": [mail]}, role="adapter")).expect(202)
