"""The gateway serves the schema of every event that it gives."""

from door import Door
from jsonschema import Draft202012Validator
from listening import pages


async def test_what_a_subscriber_is_given_fits_the_schema_that_is_served(crm: Door) -> None:
    body = {"party": {"email": "noor@example.org"}, "source": "web", "message": "Please call me."}
    lead = (await crm.post("/api/leads", body, role="sales")).expect(201)
    (await crm.get(f"/api/leads/{lead.id}", after=lead.position)).expect(200)
    listed = (await crm.get("/api/schemas", role="adapter")).expect(200).body["items"]
    urls = {item["name"]: item["url"] for item in listed}

    given = [event for event in await pages(crm, [("type", "crm.sales.*")]) if event["subject"] == lead.id]

    assert given[0]["type"] == "crm.sales.LeadCaptured.v1"
    for event in given:
        schema = (await crm.get(urls[event["type"]], role="adapter")).expect(200)
        assert schema.headers["Content-Type"] == "application/schema+json"
        Draft202012Validator(schema.body).validate(event["data"])


async def test_a_type_that_was_never_released_is_refused_with_the_nearest(crm: Door) -> None:
    refused = await crm.get("/api/schemas/crm.sales.LeadCatpured.v1")

    assert refused.is_problem(404)
    assert "crm.sales.LeadCaptured.v1" in refused.body["detail"]
