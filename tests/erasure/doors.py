"""Every door that tells something about a person."""

from collections.abc import Sequence

from door import Door, Reply
from tests.erasure.planted import Planted


async def told_by_read_models(crm: Door, person: Planted) -> list[Reply]:
    """What the services and the gateway answer from what they keep."""
    contact, lead, other = person.contact_id, *person.lead_ids
    return [
        await crm.get(f"/api/contacts/{contact}", role="sales"),
        await crm.get("/api/contacts", role="sales", limit="200"),
        await crm.get(f"/api/leads/{lead}", role="sales"),
        await crm.get(f"/api/leads/{other}", role="sales"),
        await crm.get("/api/leads", role="sales", limit="200"),
        await crm.get(f"/api/opportunities/{person.opportunity_id}", role="sales"),
        await crm.get(f"/api/tickets/{person.ticket_id}", role="service"),
        await crm.get(f"/api/customers/{contact}", role="sales"),
        await crm.get(f"/api/customers/{contact}/timeline", role="sales"),
        await crm.get(f"/api/customers/{contact}/history", role="sales"),
    ]


async def told_by_the_log(crm: Door, person: Planted) -> list[Reply]:
    """What is read from the log when it is asked for."""
    return [
        await crm.get(f"/api/contacts/{person.contact_id}/personal-data", role="privacy"),
        await crm.get("/api/events", role="admin", customer=person.contact_id, personal="open"),
    ]


def spoken(person: Planted, answers: Sequence[Reply]) -> list[str]:
    """The words of the person that the answers repeat."""
    text = "\n".join(str(answer.body) for answer in answers)
    return [word for word in (*person.words.said, *person.words.marks) if word in text]
