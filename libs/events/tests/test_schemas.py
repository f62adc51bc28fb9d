"""The JSON Schemas say what is written, and are part of the package."""

import json
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from crm_events import EVENTS
from crm_events.adapter import AdapterRecord
from crm_events.event import Event, Personal, Sealed
from crm_events.parties import Note
from crm_events.release import FOLDER, refusals, released, told
from crm_events.sales import LeadDisqualified, OpportunityWon
from crm_events.schemas import OPENED, schema_for, schema_of, schemas, text_of

every_event = pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type_name())


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


@every_event
def test_the_released_schema_is_up_to_date(event: type[Event]) -> None:
    reasons = refusals(EVENTS, released(FOLDER))
    assert reasons == [], told(reasons)
    file = FOLDER / f"{event.type_name()}.json"
    assert file.is_file(), "run make events"
    assert file.read_text(encoding="utf-8") == text_of(schema_for(event)), "the schema is stale: run make events"


@every_event
def test_a_schema_says_what_it_is(event: type[Event]) -> None:
    schema = schema_of(event.type_name())

    assert schema is not None
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:crm:schema:{event.type_name()}"
    assert schema["title"] == event.type_name()
    assert schema["description"]


@every_event
@given(data=st.data())
def test_what_is_written_fits_the_schema(event: type[Event], data: st.DataObject) -> None:
    written = data.draw(st.from_type(event))
    schema = schema_for(event)
    if event.personal_field is not None and written.personal is not None:
        block = written.personal
        if not isinstance(block, Sealed):
            opened = {**schema["properties"][event.personal_field][OPENED], "$defs": schema["$defs"]}
            validator(opened).validate(block.model_dump(mode="json", exclude_none=True))
        seal = Sealed(event=uuid4(), subject=uuid4(), key=uuid4(), box="AAAA")
        written = written.with_personal(seal)

    validator(schema).validate(json.loads(written.model_dump_json(exclude_none=True)))


@every_event
def test_the_personal_block_is_described_sealed_and_what_it_opens_to_beside_it(event: type[Event]) -> None:
    properties = schema_for(event)["properties"]
    opened = {name: member for name, member in properties.items() if OPENED in member}

    assert opened.keys() == ({event.personal_field} if event.personal_field else set())
    for member in opened.values():
        references = [member.get("$ref"), *(option.get("$ref") for option in member.get("anyOf", ()))]
        assert "#/$defs/Sealed" in references
        assert member[OPENED]["$ref"] == f"#/$defs/{event.personal_class().__name__}"


@every_event
def test_readers_are_tolerant_and_adapters_contracts_are_closed(event: type[Event]) -> None:
    assert (schema_for(event).get("additionalProperties") is False) == issubclass(event, AdapterRecord)


def test_an_amount_that_may_not_be_negative_says_so() -> None:
    amount = Draft202012Validator(schema_for(OpportunityWon)["$defs"]["Money"]["properties"]["amount"])

    assert all(map(amount.is_valid, ("12.50", "0", "-0", "-0.00")))
    assert not any(map(amount.is_valid, ("-1", "-0.01", "1.234", "1E+3", "", "-")))


def test_every_released_schema_is_served_by_name_and_nothing_else_is() -> None:
    assert schemas() == sorted(file.stem for file in FOLDER.glob("*.json"))
    assert all(schema_of(name) for name in schemas())
    assert schema_of("crm.sales.LeadAdmired.v1") is None
    assert schema_of("../schemas") is None


def test_a_served_schema_can_be_changed_without_changing_the_next() -> None:
    name = LeadDisqualified.type_name()
    served = schema_of(name) or {}
    served.clear()

    assert schema_of(name)


# -- what may be released


class PetNamed(Event):
    """A pet has a name."""

    context: ClassVar[str] = "pets"
    name: str
    note: Personal[Note] | None = None


def test_the_first_version_may_be_released() -> None:
    assert refusals([PetNamed], {}) == []


def test_an_incompatible_change_is_refused_by_name_and_the_reader_is_told_what_to_do() -> None:
    before = schema_for(PetNamed)
    before["properties"]["name"]["maxLength"] = 10

    (reason,) = refusals([PetNamed], {PetNamed.type_name(): before})

    assert reason.startswith("crm.pets.PetNamed.v1: name has none as the greatest length, it was 10")
    assert "docs/adding-an-event.md" in told([reason])


def test_an_event_that_was_released_stays() -> None:
    (reason,) = refusals([], {PetNamed.type_name(): schema_for(PetNamed)})

    assert reason == "crm.pets.PetNamed.v1: it was released, and no class reads it any more"


def test_an_upcaster_from_a_version_that_was_never_released_is_refused() -> None:
    later = type("PetNamed", (PetNamed,), {"version": 2, "upcasters": (dict,), "__module__": __name__})

    (reason,) = refusals([later], {})

    assert reason == "crm.pets.PetNamed.v1: PetNamed has an upcaster from it, but it was never released"


def test_a_new_version_must_still_read_the_personal_blocks_of_the_older_ones() -> None:
    class Story(Note):
        told_at: str

    class Later(PetNamed):
        version: ClassVar[int] = 2
        upcasters: ClassVar[tuple[Any, ...]] = (dict,)
        note: Personal[Story] | None = None

    Later.__name__ = "PetNamed"

    (reason,) = refusals([Later], {PetNamed.type_name(): schema_for(PetNamed)})

    assert reason.startswith("crm.pets.PetNamed.v1: note, opened.told_at is new and required")
