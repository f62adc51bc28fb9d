"""JSON Schema (2020-12) of every event and version: `data` as it is stored and published, its personal block sealed.

The schemas of released versions stand in `released/`, one file each, and are part of the package, so that a service
can serve them: those of older versions too, whose classes are gone.
"""

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from inspect import cleandoc
from itertools import chain
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from crm_events.adapter import AdapterRecord
from crm_events.event import Event, Sealed

Schema = dict[str, Any]

OPENED = "x-opened"
"""Beside a sealed member: what its box holds once it is opened."""
_SUFFIX = ".json"
_AMOUNT = r"[0-9]{1,13}(\.[0-9]{1,2})?$"
_NOT_NEGATIVE = rf"^(-(?=[0.]*$))?{_AMOUNT}"
_SIGNED = rf"^-?{_AMOUNT}"


def schemas() -> list[str]:
    """The type names of all released events, in every version."""
    return sorted(_released())


def schema_of(type_name: str) -> Schema | None:
    """The released JSON Schema of an event's `data`; None for a type that was never released."""
    text = _released().get(type_name)
    return None if text is None else json.loads(text)


@cache
def _released() -> dict[str, str]:
    folder = files("crm_events") / "released"
    return {f.name.removesuffix(_SUFFIX): f.read_text("utf-8") for f in folder.iterdir() if f.name.endswith(_SUFFIX)}


def text_of(schema: Schema) -> str:
    """A schema as its file holds it."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


class _WireSchema(GenerateJsonSchema):
    """What stands on the wire: amounts are text, and members are called by their names alone."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - the signature is pydantic's
        return False

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:  # noqa: ARG002 - as above
        return {"type": "string", "pattern": _SIGNED}


def schema_for(event: type[Event]) -> Schema:
    """The JSON Schema of an event's `data` as its class is today.

    Of our own events it is open: readers pass over members that they do not know. An adapter's record is closed.
    """
    from_adapters = issubclass(event, AdapterRecord)
    schema = event.model_json_schema(
        mode="validation" if from_adapters else "serialization", schema_generator=_WireSchema
    )
    for part in _parts(schema):
        if part.get("additionalProperties") is False and not from_adapters:
            del part["additionalProperties"]
        if part.pop("ge", None) == 0:  # pydantic leaves the bound of an amount beside its text
            part["pattern"] = _NOT_NEGATIVE
    if event.personal_field is not None:
        _sealed(schema, event.personal_field, event.personal_class())
    head = {
        "$schema": GenerateJsonSchema.schema_dialect,
        "$id": f"urn:crm:schema:{event.type_name()}",
        "title": event.type_name(),
        "description": meaning(event),
    }
    return head | {name: part for name, part in schema.items() if name not in head}


def meaning(model: type[BaseModel]) -> str:
    """What the class says it means; one that says nothing is called what its name says."""
    words = "".join(f" {c.lower()}" if c.isupper() else c for c in model.__name__).strip()
    return cleandoc(model.__doc__ or f"{words.capitalize()}.")


def _parts(schema: Schema) -> Iterator[Schema]:
    """The schema and every schema within it."""
    yield schema
    named = (schema.get(keyword, {}).values() for keyword in ("$defs", "properties"))
    single = (schema[keyword] for keyword in ("items", "additionalProperties") if isinstance(schema.get(keyword), dict))
    for part in chain(*named, single, schema.get("anyOf", ())):
        yield from _parts(part)


def _sealed(schema: Schema, member: str, block: type[BaseModel]) -> None:
    """Stored, a block is sealed; the schema says beside it what it is once opened."""
    sealed: Schema = {"$ref": f"#/$defs/{Sealed.__name__}"}
    described = schema["properties"][member]
    optional = member not in schema.get("required", ())
    written: Schema = {"anyOf": [sealed, {"type": "null"}], "default": described["default"]} if optional else sealed
    schema["properties"][member] = {**written, OPENED: {"$ref": f"#/$defs/{block.__name__}"}}
