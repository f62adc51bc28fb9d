"""A story: a campaign speaks to a contact, and the contact answers."""

from door import Door, eventually


async def test_a_contact_enrolled_in_a_campaign_answers_it(crm: Door) -> None:
    before = await crm.kpis()
    contact = (
        await crm.post(
            "/api/contacts",
            {"name": "Mary", "identifiers": [{"kind": "email", "value": "mary@example.org"}]},
            role="marketing",
        )
    ).expect(201)
    campaign = (await crm.post("/api/campaigns", {"name": "Spring", "channel": "email"}, role="marketing")).expect(201)

    early = await crm.post(f"/api/campaigns/{campaign.id}/enrol", {"contact_id": contact.id}, role="marketing")
    assert early.is_problem(409), "nobody is enrolled before the launch"
    (await crm.post(f"/api/campaigns/{campaign.id}/launch", {}, role="marketing")).expect(200)
    enrolled = await crm.post(f"/api/campaigns/{campaign.id}/enrol", {"contact_id": contact.id}, role="marketing")
    again = await crm.post(f"/api/campaigns/{campaign.id}/enrol", {"contact_id": contact.id}, role="marketing")
    assert (enrolled.expect(200).body, again.status) == (again.body, 200), "a contact is enrolled once"

    answered = await crm.post(
        "/api/interactions",
        {
            "source": "mailbox",
            "interactions": [
                {
                    "external_id": "answer-1",
                    "channel": "email",
                    "direction": "inbound",
                    "occurred_at": "2026-03-02T09:30:00Z",
                    "party": {"email": "Mary@example.org"},
                    "subject": "Re: Spring",
                    "attributes": {"campaign_id": campaign.id},
                }
            ],
        },
        role="adapter",
    )
    assert [item["accepted"] for item in answered.body["results"]] == [True]

    async def shows_the_engagement() -> bool:
        view = await crm.customer(after=answered.position, email="mary@example.org")
        return [len(c["engagements"]) for c in view["campaigns"]] == [1]

    await eventually(shows_the_engagement, "the answer shows as an engagement in the view")
    view = await crm.customer(email="mary@example.org")
    assert view["contact_id"] == contact.id
    assert [c["name"] for c in view["campaigns"]] == ["Spring"]
    assert [item["content"]["subject"] for item in view["timeline"]["items"]] == ["Re: Spring"]

    async def counts_the_engagement() -> bool:
        return bool((await crm.kpis())["engagements"] == before["engagements"] + 1)

    await eventually(counts_the_engagement, "the KPIs count the engagement")
