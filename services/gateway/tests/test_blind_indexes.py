"""Blind indexes are for looking people up: no subscriber is given one."""

from uuid import uuid4

import orjson
import pytest

from crm_events.contacts import ContactErased, ContactRegistered, ContactUpdated
from crm_events.schemas import schema_of
from crm_gateway.blind_indexes import without_blind_indexes


def document(**data: object) -> bytes:
    return orjson.dumps({"id": "1", "data": data})


@pytest.mark.parametrize("event", [ContactRegistered, ContactUpdated])
def test_the_identifiers_of_a_contact_are_left_out(event: type[ContactRegistered | ContactUpdated]) -> None:
    index = str(uuid4())
    given = without_blind_indexes(
        event.type_name(), document(source="web", identifiers=[{"kind": "email", "index": index}])
    )
    assert orjson.loads(given) == {"id": "1", "data": {"source": "web"}}
    schema = schema_of(event.type_name())
    assert schema is not None
    assert "identifiers" not in schema["required"], "what is left out is not required"


def test_any_other_event_is_given_as_it_was_published() -> None:
    published = document(confirmed_by="maya.lind")
    assert without_blind_indexes(ContactErased.type_name(), published) is published
