"""A story: somebody shows interest, becomes a contact, a deal, and revenue; everybody sees it."""

import asyncio

from door import Door


async def test_a_lead_captured_by_email_becomes_a_contact_and_a_won_deal(crm: Door) -> None:
    before = await crm.kpis()

    captured = (
        await crm.post(
            "/api/leads",
            {
                "party": {"email": "Ada.Byron@Example.org", "name": "Ada Byron"},
                "source": "webinar",
                "message": "Call me",
            },
            role="sales",
        )
    ).expect(201)

    view = await crm.customer(after=captured.position, email="ada.byron@example.org")
    assert view["profile"]["name"] == "Ada Byron"
    assert [lead["id"] for lead in view["leads"]] == [captured.id]

    lead = (await crm.get(f"/api/leads/{captured.id}", after=captured.position)).expect(200).body
    assert lead["contact_id"] == view["contact_id"], "sales has linked its lead to the same contact"

    (await crm.post(f"/api/leads/{captured.id}/qualify", {"score": 80}, role="sales")).expect(200)
    converted = (
        await crm.post(
            f"/api/leads/{captured.id}/convert",
            {"title": "Engine", "value": {"amount": "1250.50", "currency": "EUR"}},
            role="sales",
        )
    ).expect(200)
    lead = (await crm.get(f"/api/leads/{captured.id}", after=converted.position)).expect(200).body
    deal = lead["opportunity_id"]
    (await crm.post(f"/api/opportunities/{deal}/stage", {"stage": "proposal"}, role="sales")).expect(200)
    won = (await crm.post(f"/api/opportunities/{deal}/win", {}, role="sales")).expect(200)

    view = await crm.customer(after=won.position, email="ada.byron@example.org")
    assert [(o["id"], o["status"]) for o in view["opportunities"]] == [(deal, "won")]
    assert view["leads"][0]["stage"] == "converted"

    after = await crm.kpis(after=won.position)
    assert after["leads"]["captured"] - before["leads"]["captured"] == 1
    assert after["leads"]["converted"] - before["leads"]["converted"] == 1
    assert _revenue(after, "EUR") - _revenue(before, "EUR") == 125_050


async def test_a_thousand_leads_at_once_by_one_address_are_one_contact(crm: Door) -> None:
    party = {"email": "crowd@example.org"}
    busy = asyncio.Semaphore(32)

    async def capture(n: int) -> str:
        async with busy:
            reply = await crm.post("/api/leads", {"party": party, "source": f"stand {n % 3}"}, role="sales")
        return reply.expect(201).position

    positions = await asyncio.gather(*(capture(n) for n in range(1_000)))
    contacts = {(await crm.customer(after=position, **party))["contact_id"] for position in positions[::25]}
    assert len(contacts) == 1


async def test_a_lead_of_an_unknown_contact_is_answered_and_stays_without_one(crm: Door) -> None:
    nobody = "00000000-0000-4000-8000-00000000dead"
    captured = (
        await crm.post("/api/leads", {"party": {"contact_id": nobody}, "source": "import"}, role="sales")
    ).expect(201)
    lead = (await crm.get(f"/api/leads/{captured.id}", after=captured.position)).expect(200).body
    assert (lead["contact_id"], lead["party_unknown"]) == (None, "no_such_contact")
    assert (await crm.get(f"/api/customers/{nobody}", after=captured.position)).is_problem(404)


async def test_a_ticket_of_an_unknown_contact_says_why_it_has_none(crm: Door) -> None:
    nobody = "00000000-0000-4000-8000-00000000dead"
    request = {"party": {"contact_id": nobody}, "subject": "Who am I?", "channel": "email"}
    opened = (await crm.post("/api/tickets", request, role="service")).expect(201)
    ticket = (await crm.get(f"/api/tickets/{opened.id}", after=opened.position)).expect(200).body
    assert (ticket["contact_id"], ticket["party_unknown"]) == (None, "no_such_contact")


async def test_a_lead_of_a_contact_long_known_is_answered_too(crm: Door) -> None:
    registered = (
        await crm.post(
            "/api/contacts",
            {"given_name": "Grace", "identifiers": [{"kind": "phone", "value": "+49 30 901820"}]},
            role="sales",
        )
    ).expect(201)
    captured = (
        await crm.post("/api/leads", {"party": {"phone": "+4930901820"}, "source": "call"}, role="sales")
    ).expect(201)
    lead = (await crm.get(f"/api/leads/{captured.id}", after=captured.position)).expect(200).body
    assert (lead["contact_id"], lead["party_unknown"]) == (registered.id, None)


def _revenue(kpis: dict[str, object], currency: str) -> int:
    """Revenue won in hundredths."""
    rows = kpis["revenue"]
    assert isinstance(rows, list)
    return sum(round(float(row["won"]) * 100) for row in rows if row["currency"] == currency)
