"""A person is given all that is held about them, and nothing of anybody else; nobody takes that without the right."""

from uuid import uuid4

import orjson
from door import Door
from person import Person


async def test_an_export_holds_all_that_was_said_and_nobody_elses_words(crm: Door) -> None:
    ada, bob = Person(crm), Person(crm)
    await ada.tells()
    await bob.tells()
    export = (await ada.export()).expect(200).body
    text = orjson.dumps(export).decode()
    assert {name for name, words in ada.words.items() if words not in text} == set(), "also what was said before"
    assert ada.email in text
    assert not [words for words in (*bob.words.values(), bob.email) if words in text]
    services = export["services"]
    assert set(services) == {"contacts", "sales", "service", "marketing", "analytics", "gateway"}
    assert [name for name, held in services.items() if held["events"]] == ["contacts", "sales", "service"]
    assert all(held["holds"] for held in services.values()), "a service that holds nothing says so"
    types = [event["type"].split(".")[2] for event in services["sales"]["events"]]
    assert types[0] == "LeadCaptured"
    assert '"index"' not in text, "equal blind indexes would tie who comes again to a contact that was erased"
    assert not any(event["erased"] for held in services.values() for event in held["events"])


async def test_only_the_right_of_its_own_gives_an_export(crm: Door) -> None:
    ada = Person(crm)
    await ada.tells()
    for role in ("sales", "service", "marketing", "analyst", "admin", "adapter"):
        assert (await ada.export(role)).is_problem(403), role
    assert (await crm.get(f"/api/contacts/{ada.contact_id}", role="privacy")).is_problem(403), "it gives no other right"


async def test_who_answers_a_person_finds_out_by_the_address_whom_it_means(crm: Door) -> None:
    ada = Person(crm)
    await ada.tells()
    found = (await crm.get("/api/customers", email=ada.email, role="privacy")).expect(200)
    assert found.body["contact_id"] == ada.contact_id


async def test_who_is_not_known_has_no_export(crm: Door) -> None:
    nobody = Person(crm)
    nobody.contact_id = str(uuid4())
    assert (await nobody.export()).is_problem(404)
