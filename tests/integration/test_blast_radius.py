"""What an event led to is told across services: the same as a walk over all that is published."""

from collections import defaultdict
from uuid import uuid4

import orjson
from door import Door
from libs.platform.tests.kafka_topics import records_of

from crm_events.topics import CONTACTS, MARKETING, SALES, SERVICE


async def _published(crm: Door) -> dict[str, list[str]]:
    """The ids of the events that each id led to, as the topics say."""
    caused = defaultdict[str, list[str]](list)
    for topic in (CONTACTS, SALES, SERVICE, MARKETING):
        for record in await records_of(crm.stack.addresses.kafka_bootstrap, topic):
            event = orjson.loads(record.value)
            caused[event["causationid"]].append(event["id"])
    return caused


def _walk(caused: dict[str, list[str]], event: str) -> set[str]:
    found: set[str] = set()
    waiting = [event]
    while waiting:
        fresh = set(caused.get(waiting.pop(), ())) - found
        found |= fresh
        waiting += fresh
    return found


async def test_what_followed_from_an_event_is_told_with_the_customers_that_it_touched(crm: Door) -> None:
    email = f"{uuid4().hex}@example.org"
    lead = {"party": {"email": email, "name": "Ada Traced"}, "source": "web-form"}
    captured = (await crm.post("/api/leads", lead, role="sales")).expect(201)
    (await crm.get(f"/api/leads/{captured.id}", after=captured.position)).expect(200)
    done = (await crm.post(f"/api/leads/{captured.id}/qualify", {"score": 70}, role="sales")).expect(200)
    view = await crm.customer(after=done.position, email=email)
    history = (await crm.get(f"/api/customers/{view['contact_id']}/history", after=done.position)).expect(200).body
    ids = {item["type"].split(".")[2]: item["id"] for item in history["items"]}

    told = (await crm.get(f"/api/events/{ids['LeadCaptured']}/trace")).expect(200).body
    assert {effect["id"] for effect in told["effects"]} == _walk(await _published(crm), ids["LeadCaptured"])
    assert {effect["type"].split(".")[2] for effect in told["effects"]} >= {"PartyResolved", "LeadLinked"}
    assert (told["causes"], told["customers"], told["complete"]) == ([], [view["contact_id"]], True)

    linked = (await crm.get(f"/api/events/{ids['LeadLinked']}/trace")).expect(200).body
    assert [cause["id"] for cause in linked["causes"]] == [ids["LeadCaptured"], ids["PartyResolved"]]
    assert linked["effects"] == []
    qualified = (await crm.get(f"/api/events/{ids['LeadQualified']}/trace")).expect(200).body
    assert (qualified["causes"], qualified["effects"]) == ([], []), "another command is another story"


async def test_an_event_that_nobody_published_is_refused(crm: Door) -> None:
    assert (await crm.get(f"/api/events/{uuid4()}/trace")).is_problem(404)
    assert (await crm.get("/api/events/never/trace")).is_problem(404)
