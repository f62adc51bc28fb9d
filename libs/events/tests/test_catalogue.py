"""The event catalogue is made from the classes."""

from pathlib import Path

from crm_events import EVENTS, REGISTRY
from crm_events.catalogue import catalogue, example
from crm_events.envelope import from_document
from crm_events.sales import LeadQualified
from crm_events.topics import TOPICS

PAGE = Path(__file__).parents[3] / "docs" / "events.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == catalogue(), "docs/events.md is stale: run make events"


def test_every_event_and_topic_is_on_the_page() -> None:
    page = catalogue()

    assert all(f"### {event.__name__}, version {event.version}\n\n`{event.type_name()}`" in page for event in EVENTS)
    assert all(f"| `{topic.name}` |" in page for topic in TOPICS)


def test_every_member_is_on_the_page_with_what_it_holds() -> None:
    sections = {part.partition(",")[0]: part for part in catalogue().split("\n### ")}

    for event in EVENTS:
        for name, field in event.model_fields.items():
            need = "required" if field.is_required() else "optional"
            row = next(line for line in sections[event.__name__].splitlines() if line.startswith(f"| `{name}` |"))
            assert f"| {need}" in row
            assert (", personal" in row) == (name == event.personal_field)


def test_every_link_within_the_page_leads_somewhere() -> None:
    page = catalogue()
    targets = {line.lstrip("# ").lower() for line in page.splitlines() if line.startswith("### ")}

    links = {part.partition(")")[0] for part in page.split("](#")[1:]}

    assert links
    assert links <= targets


def test_every_file_that_the_page_links_to_exists() -> None:
    targets = {part.partition(")")[0] for part in catalogue().split("](")[1:] if not part.startswith(("#", "http"))}

    assert {f"../libs/events/src/crm_events/released/{event.type_name()}.json" for event in EVENTS} <= targets
    assert [target for target in sorted(targets) if not (PAGE.parent / target).is_file()] == []


def test_an_older_version_is_on_the_page_as_one_that_is_read() -> None:
    page = catalogue([type("LeadQualified", (LeadQualified,), {"version": 2, "upcasters": (dict,)})])

    assert "### LeadQualified, version 2\n\n`crm.sales.LeadQualified.v2` " in page
    assert "Older versions are read as this one: `crm.sales.LeadQualified.v1` (" in page


def test_the_example_is_an_event() -> None:
    assert from_document(example(), REGISTRY).data.type_name() == "crm.sales.LeadCaptured.v1"
