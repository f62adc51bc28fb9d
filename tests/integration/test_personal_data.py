"""A person is given all that is held about them, and nothing of anybody else; nobody takes that without the right."""

from typing import Any
from uuid import uuid4

import orjson
from door import Door


class Person:
    """Somebody who has said something personal to every service, each time in words of its own."""

    def __init__(self, crm: Door) -> None:
        self._crm = crm
        self.email = f"{uuid4().hex}@example.org"
        self.words = {name: f"{name}-{uuid4().hex}" for name in ("name", "before", "message", "title", "body", "reply")}
        self.contact_id = ""

    async def tells(self) -> None:
        crm, party = self._crm, {"email": self.email}
        contact = {"name": self.words["before"], "identifiers": [{"kind": "email", "value": self.email}]}
        registered = (await crm.post("/api/contacts", contact, role="sales")).expect(201)
        self.contact_id = registered.id
        (
            await crm.patch(
                f"/api/contacts/{registered.id}",
                {"name": self.words["name"]},
                role="sales",
                headers={"If-Match": registered.headers["ETag"]},
            )
        ).expect(200)
        lead = {"party": party, "source": "web-form", "message": self.words["message"]}
        captured = (await crm.post("/api/leads", lead, role="sales")).expect(201)
        (await crm.get(f"/api/leads/{captured.id}", after=captured.position)).expect(200)
        (await crm.post(f"/api/leads/{captured.id}/qualify", {"score": 80}, role="sales")).expect(200)
        deal = {"title": self.words["title"], "value": {"amount": "10.00", "currency": "EUR"}}
        converted = (await crm.post(f"/api/leads/{captured.id}/convert", deal, role="sales")).expect(200)
        ticket = {"party": party, "subject": "Help", "body": self.words["body"], "channel": "email"}
        opened = (await crm.post("/api/tickets", ticket, role="service")).expect(201)
        reply = {"author": "customer", "body": self.words["reply"]}
        replied = (await crm.post(f"/api/tickets/{opened.id}/reply", reply, role="service")).expect(200)
        await crm.customer(after=f"{converted.position} {opened.position} {replied.position}", email=self.email)

    async def export(self, role: str = "privacy") -> Any:
        return await self._crm.get(f"/api/contacts/{self.contact_id}/personal-data", role=role)


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
    assert not any(event["erased"] for held in services.values() for event in held["events"])


async def test_only_the_right_of_its_own_gives_an_export(crm: Door) -> None:
    ada = Person(crm)
    await ada.tells()
    for role in ("sales", "service", "marketing", "analyst", "admin", "adapter"):
        assert (await ada.export(role)).is_problem(403), role
    assert (await crm.get(f"/api/contacts/{ada.contact_id}", role="privacy")).is_problem(403), "it gives no other right"


async def test_who_is_not_known_has_no_export(crm: Door) -> None:
    nobody = Person(crm)
    nobody.contact_id = str(uuid4())
    assert (await nobody.export()).is_problem(404)
