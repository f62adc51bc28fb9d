"""What a service stores for itself alone evolves by the same rules as what it publishes."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from crm_events import REGISTRY
from crm_events.envelope import from_document, to_document
from crm_events.event import Event
from crm_events.release import refusals, released, told
from crm_events.schemas import schema_for, text_of
from crm_local.private_events import PrivateEvents, private_events

SERVICES = Path(__file__).parents[3] / "services"
OWNERS = [each for each in private_events() if each.events]
every_owner = pytest.mark.parametrize("owner", OWNERS, ids=lambda owner: owner.service)
every_event = pytest.mark.parametrize(
    ("owner", "event"),
    [(owner, event) for owner in OWNERS for event in owner.events],
    ids=[event.type_name() for owner in OWNERS for event in owner.events],
)


def golden_folder(owner: PrivateEvents) -> Path:
    return SERVICES / owner.service / "tests" / "golden"


def golden_documents(owner: PrivateEvents) -> list[dict[str, Any]]:
    """What every release has stored, in every version."""
    files = sorted(golden_folder(owner).glob("*.json"))
    return [document for file in files for document in json.loads(file.read_text(encoding="utf-8"))["documents"]]


def test_contacts_has_private_events() -> None:
    assert "contacts" in {owner.service for owner in OWNERS}


@every_owner
def test_a_private_event_changes_only_as_stored_ones_survive(owner: PrivateEvents) -> None:
    reasons = refusals(owner.events, released(owner.folder))
    assert reasons == [], told(reasons)


@every_event
def test_the_released_schema_of_a_private_event_is_up_to_date(owner: PrivateEvents, event: type[Event]) -> None:
    file = owner.folder / f"{event.type_name()}.json"
    assert file.is_file(), "run make events"
    assert file.read_text(encoding="utf-8") == text_of(schema_for(event)), "the schema is stale: run make events"


@every_owner
def test_no_golden_file_of_a_private_event_is_missing_or_edited(owner: PrivateEvents) -> None:
    folder = golden_folder(owner)
    lines = (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    listed = {name: digest for digest, name in (line.split() for line in lines)}

    assert len(listed) == len(lines), "a golden file is listed once; a second line would hide an edit"
    assert listed.keys() == {f"{name}.json" for name in released(owner.folder)}
    assert listed == {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in listed}


@every_owner
def test_a_private_event_that_was_stored_is_read(owner: PrivateEvents) -> None:
    registry = REGISTRY.with_events(owner.events)
    for document in golden_documents(owner):
        event = from_document(document, registry)
        written = to_document(event)
        assert {**written, "type": "", "data": None} == {**document, "type": "", "data": None}
        assert document["type"] in (*event.data.older_type_names(), event.data.type_name())
        if document["type"] == event.data.type_name():
            assert written["data"].items() >= document["data"].items()


@every_owner
def test_a_private_event_that_was_stored_fits_the_schema_of_its_version(owner: PrivateEvents) -> None:
    schemas = released(owner.folder)
    for document in golden_documents(owner):
        schema = schemas[document["type"]]
        Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(document["data"])
