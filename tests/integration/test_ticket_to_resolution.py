"""A story: somebody asks for help, is answered, asks again, and the figures tell how long it took."""

from datetime import UTC, datetime, timedelta

from door import Door


async def test_a_ticket_opened_by_email_is_answered_and_resolved(crm: Door) -> None:
    before = (await crm.kpis())["tickets"]
    opened_at = datetime.now(UTC) - timedelta(hours=2)

    opened = (
        await crm.post(
            "/api/tickets",
            {
                "party": {"email": "kurt@example.org", "name": "Kurt"},
                "channel": "email",
                "priority": "high",
                "subject": "Broken gear",
                "body": "It does not turn.",
                "occurred_at": opened_at.isoformat(),
            },
            role="service",
        )
    ).expect(201)

    view = await crm.customer(after=opened.position, email="kurt@example.org")
    assert [(t["id"], t["status"], t["request"]["subject"]) for t in view["tickets"]] == [
        (opened.id, "open", "Broken gear")
    ]
    ticket = (await crm.get(f"/api/tickets/{opened.id}", after=opened.position)).expect(200).body
    assert ticket["contact_id"] == view["contact_id"]

    await _do(crm, opened.id, "assign", {"agent": "agent-7"})
    await _do(crm, opened.id, "reply", {"body": "Oil it."})
    first = await _do(crm, opened.id, "resolve", {})
    resolved = (await crm.kpis(after=first))["tickets"]
    assert resolved["resolved"] - before["resolved"] == 1

    await _do(crm, opened.id, "reopen", {"note": "Still stuck"})
    last = await _do(crm, opened.id, "resolve", {"note": "Replaced"})

    after = (await crm.kpis(after=last))["tickets"]
    assert after["opened"] - before["opened"] == 1
    assert after["resolved"] - before["resolved"] == 1, "a resolution that was taken back counts no longer"
    assert after["open"] == before["open"]
    if not before["resolved"]:
        assert 7_200 <= after["average_resolution_seconds"] < 7_200 + 600

    view = await crm.customer(after=last, email="kurt@example.org")
    assert view["tickets"][0]["status"] == "resolved"
    assert any(item["kind"] == "ticket_reply" for item in view["timeline"]["items"])


async def _do(crm: Door, ticket: str, action: str, body: dict[str, str]) -> str:
    return (await crm.post(f"/api/tickets/{ticket}/{action}", body, role="service")).expect(200).position
