"""Somebody whom every service knows something about."""

from typing import Any
from uuid import uuid4

from door import Door, Reply, eventually


class Person:
    """Somebody who has said something personal to every service, each time in words of its own."""

    def __init__(self, crm: Door) -> None:
        self._crm = crm
        self.email = f"{uuid4().hex}@example.org"
        self.words = {name: f"{name}-{uuid4().hex}" for name in ("name", "before", "message", "title", "body", "reply")}
        self.contact_id = ""
        self.lead_id = ""
        self.opportunity_id = ""
        self.ticket_id = ""

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
        self.lead_id = captured.id
        (await crm.get(f"/api/leads/{captured.id}", after=captured.position)).expect(200)
        (await crm.post(f"/api/leads/{captured.id}/qualify", {"score": 80}, role="sales")).expect(200)
        deal = {"title": self.words["title"], "value": {"amount": "10.00", "currency": "EUR"}}
        converted = (await crm.post(f"/api/leads/{captured.id}/convert", deal, role="sales")).expect(200)
        ticket = {"party": party, "subject": "Help", "body": self.words["body"], "channel": "email"}
        opened = (await crm.post("/api/tickets", ticket, role="service")).expect(201)
        self.ticket_id = opened.id
        reply = {"author": "customer", "body": self.words["reply"]}
        replied = (await crm.post(f"/api/tickets/{opened.id}/reply", reply, role="service")).expect(200)
        await crm.customer(after=f"{converted.position} {opened.position} {replied.position}", email=self.email)

    async def export(self, role: str = "privacy") -> Reply:
        return await self._crm.get(f"/api/contacts/{self.contact_id}/personal-data", role=role)

    async def view(self) -> Any:
        return (await self._crm.get(f"/api/customers/{self.contact_id}")).expect(200).body


async def ask_for_erasure(crm: Door, contact_id: str, by: str, **body: str) -> Reply:
    """One of the two requests that an erasure takes."""
    return await crm.of(by).post(f"/api/contacts/{contact_id}/erase", body, role="privacy")


async def erasure_of(crm: Door, contact_id: str, after: str = "") -> Any:
    return (await crm.get(f"/api/contacts/{contact_id}/erasure", role="privacy", after=after)).expect(200).body


async def erased(crm: Door, contact_id: str) -> Any:
    """The proof, once two persons have asked and every service has acknowledged."""
    (await ask_for_erasure(crm, contact_id, "maya.lind")).expect(202)
    (await ask_for_erasure(crm, contact_id, "jon.abbott")).expect(202)
    return await erasure_completed(crm, contact_id)


async def erasure_completed(crm: Door, contact_id: str) -> Any:
    async def is_complete() -> bool:
        reply = await crm.get(f"/api/contacts/{contact_id}/erasure", role="privacy")
        return reply.status == 200 and reply.body["state"] == "completed"

    await eventually(is_complete, f"every service acknowledges the erasure of {contact_id}")
    return await erasure_of(crm, contact_id)
