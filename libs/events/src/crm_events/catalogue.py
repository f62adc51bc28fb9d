"""The event catalogue, from the classes: `python -m crm_events.catalogue > docs/events.md`."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from crm_events import EVENTS
from crm_events.adapter import AdapterRecord
from crm_events.envelope import Recorded, event_id, to_document
from crm_events.event import Event, Sealed
from crm_events.parties import PATTERNS
from crm_events.sales import LeadCaptured
from crm_events.schemas import meaning
from crm_events.topics import (
    DAY_MS,
    ERASURES,
    INTERACTIONS,
    KEYS,
    MAX_RECORD_BYTES,
    MAX_STORED_EVENT_BYTES,
    TOPICS,
    Topic,
    context_topic,
)

Schema = dict[str, Any]

SCHEMAS = "../libs/events/src/crm_events/released"
"""The events' JSON Schemas, seen from the page."""
SERVICES = ("contacts", "sales", "service", "marketing", "analytics", "gateway")

HEAD = """\
# Events

Every fact that crosses the platform, by the service that owns it. This page is made from the classes in
`libs/events`, by `python -m crm_events.catalogue > docs/events.md`; a test fails when the two differ. Why events
look like this: [ADR 0002](adr/0002-event-format.md).

A released event is never edited. What a later release adds is optional, so a reader passes over members that it does
not know; anything else is a new version, with a type name of its own, and today's readers are given the older ones in
today's form ([ADR 0014](adr/0014-evolution.md)). Adapters' records are the exception: a member that is not named here
is refused. Each event's JSON Schema (2020-12) describes its `data`; the gateway serves it to any valid token:
`GET /api/schemas` lists every released version with the `url` of its schema. Each service's AsyncAPI document says what
it sends and receives: {services}.

Every event says `occurred_at`: when it was true, to the millisecond in UTC. When it was recorded stands in the
envelope, as `time`. A late fact has an old `occurred_at` and a new `time`.

A **personal block** is the one member of an event that holds personal data. It is sealed under the key of the *data
subject* before the event is stored, and is stored and published sealed ([ADR 0005](adr/0005-sealing-personal-data.md));
what is listed is what stands in it once it is opened.
"""

WIRE = """\
## How an event looks on the wire

The value of a Kafka record is a CloudEvents 1.0 document in structured mode, the same bytes that the event store
holds. `id` follows from `subject` (the aggregate) and `sequence` (the aggregate's version after the event), so the
same event published again is recognised. `correlationid` names the whole story, `causationid` the command or event
that led to this one. An event that was recorded while its command was traced says so before `data`, as `traceparent`
([W3C Trace Context](https://www.w3.org/TR/trace-context/)). The personal block of this example is sealed; its `box` is
a short dummy.
"""

HEADERS = """\
The record's key is the `subject`, so the events of one aggregate stay in order in one partition. Its headers:

| header | says |
|---|---|
| `content-type` | `application/cloudevents+json` |
| `ce_id` | the event's id, as in the document |
| `ce_type` | the event's type, so that a reader can pass over it without parsing |
| `ce_position` | the event's place in its service's store; it grows along a partition, with holes |
| `ce_previous` | the position of the published event before it in the same partition, 0 for the first |
| `crm-mac` | proof that a relay of this installation wrote the record at that place |
| `traceparent` | the trace in which the event was recorded, as in the document; absent where that was not traced |

With the two positions a reader tells the next event from a repeat and from a gap
([ADR 0004](adr/0004-cursors-and-effectively-once.md)).

Adapters write to `crm.interactions` in structured mode as above, with the header `content-type`, or in binary mode:
`data` as the value, the attributes as headers with `ce_` in front. They send `type`, `source` (the adapter, always the
same; what begins with `/crm/` is the platform's), `id`, `time` and `data`, and need no position. A record that breaks
the contract is set aside, and tells why in the log of contacts; nothing waits behind it. The platform knows a record
by `source` and `external_id`, not by the adapter's `id`. An adapter that traces sends the header `traceparent`; its
trace goes on in the platform.
"""


TYPES = {"string": "text", "integer": "a whole number", "number": "a number", "boolean": "true or false"}
FORMATS = {
    "uuid": "an id (UUID)",
    "date": "a date",
    "date-time": "a moment",
    "decimal": "a decimal number as text, at most {decimal_places} places{sign}",
}


class _WireSchema(GenerateJsonSchema):
    """JSON Schema of what is written, with decimals named as such."""

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        sign = ", not negative" if schema.get("ge") == 0 else ""
        return {"format": "decimal", "decimal_places": schema.get("decimal_places"), "sign": sign}


def catalogue(events: Iterable[type[Event]] = EVENTS) -> str:
    """The page, in Markdown."""
    by_context = groupby(events, key=lambda event: event.context)
    sections = [section for context, group in by_context for section in _context(context, tuple(group))]
    return (
        "\n".join((HEAD.format(services=_documents()), *sections, *_values(events), *_topics(), *_wire())).rstrip()
        + "\n"
    )


def _documents() -> str:
    """Where the services' AsyncAPI documents are, seen from the page."""
    return ",\n".join(f"[{name}](asyncapi/{name}.json)" for name in SERVICES)


def _writer(topic: Topic) -> str:
    if topic is INTERACTIONS:
        return "channel adapters, directly or through the gateway"
    if topic is KEYS:
        return "every service that seals personal data, its own keys"
    if topic is ERASURES:
        return "contacts, which orders an erasure, and by every service, which answers"
    context = topic.name.removeprefix("crm.")
    silent = "" if any(event.context == context for event in EVENTS) else ", which has no events yet"
    return f"the `{context}` service{silent}"


def _context(context: str, events: tuple[type[Event], ...]) -> Iterator[str]:
    topic = next(topic for topic in TOPICS if topic.name == context_topic(context))
    yield f"## {context.capitalize()}\n\nTopic `{topic.name}`, written by {_writer(topic)}.\n"
    for event in events:
        yield from _event(event)


def _event(event: type[Event]) -> Iterator[str]:
    schema = _schema(event)
    name = event.type_name()
    yield f"### {event.__name__}, version {event.version}\n\n`{name}` ({_json_schema(name)})\n"
    yield meaning(event) + "\n"
    personal = event.personal_field
    if personal is None:
        plain = "Written in the clear; contacts takes it in and seals it." if issubclass(event, AdapterRecord) else ""
        yield f"No personal block. {plain}".rstrip() + "\n"
    else:
        block = event.personal_class().__name__
        yield f"Personal block: `{personal}` ({_link(block)}). Data subject: {_subject(event)}.\n"
    yield _table(schema, schema.get("$defs", {}), personal)
    older = [f"`{name}` ({_json_schema(name)})" for name in event.older_type_names()]
    if older:
        yield f"Older versions are read as this one: {', '.join(older)}.\n"


def _json_schema(type_name: str) -> str:
    return f"[JSON Schema]({SCHEMAS}/{type_name}.json)"


def _schema(model: type[BaseModel]) -> Schema:
    return model.model_json_schema(mode="serialization", schema_generator=_WireSchema)


def _subject(event: type[Event]) -> str:
    """Whom `data_subject` names, found by asking an event whose members hold their own names."""
    names: dict[str, Any] = {name: name for name in event.model_fields}
    stream = UUID(int=0)
    subject: object = event.model_construct(**names).data_subject(stream)
    return "the one whose event it is, its `subject`" if subject is stream else f"`{subject}`"


def _table(schema: Schema, definitions: Mapping[str, Schema], personal: str | None = None) -> str:
    members = schema.get("properties", {})
    if not members:
        return ""
    rows = ["| member | holds | |", "|---|---|---|"]
    required = schema.get("required", ())
    for name, member in members.items():
        notes = ["required" if name in required else "optional"]
        if name == personal:
            notes[0] += ", personal"
        if "description" in member:
            notes.append(member["description"])
        rows.append(f"| `{name}` | {_words(member, definitions)} | {'. '.join(notes)} |")
    return "\n".join(rows) + "\n"


# -- what a member holds, in words


def _words(schema: Schema, definitions: Mapping[str, Schema]) -> str:
    if "$ref" in schema:
        return _named(schema["$ref"].rpartition("/")[2], definitions)
    if "anyOf" in schema:
        return _choice([_words(option, definitions) for option in schema["anyOf"] if option.get("type") != "null"])
    if "items" in schema:
        return f"a list{_at_most(schema, 'maxItems')}: {_words(schema['items'], definitions)}"
    if "additionalProperties" in schema:
        return f"a map{_at_most(schema, 'maxProperties')}: {_words(schema['additionalProperties'], definitions)}"
    return _plain(schema)


def _plain(schema: Schema) -> str:
    match schema:
        case {"format": known}:
            return FORMATS[known].format_map(schema)
        case {"pattern": pattern}:
            return PATTERNS.get(pattern, f"text of the form `{pattern}`") + _at_most(schema, "maxLength", " characters")
        case {"minimum": least, "maximum": most}:
            return f"a whole number, {least} to {most}"
        case _:
            return TYPES[schema["type"]] + _at_most(schema, "maxLength", " characters")


def _at_most(schema: Schema, name: str, unit: str = "") -> str:
    return f", at most {schema[name]:,}{unit}" if name in schema else ""


def _choice(options: list[str]) -> str:
    sealed = _link(Sealed.__name__)
    return " or ".join(option for option in options if option != sealed)


def _named(name: str, definitions: Mapping[str, Schema]) -> str:
    choices = definitions[name].get("enum")
    return _link(name) if choices is None else " · ".join(f"`{choice}`" for choice in choices)


def _link(name: str) -> str:
    return f"[{name}](#{name.lower()})"


# -- the values, the topics, the wire


def _values(events: Iterable[type[Event]]) -> Iterator[str]:
    """Every value that an event is made of, once."""
    definitions: dict[str, Schema] = {}
    for event in events:
        definitions |= _schema(event).get("$defs", {})
    yield "## Values\n\nWhat the members above are made of.\n"
    for name in sorted(definitions):
        if "properties" in definitions[name]:
            yield f"### {name}\n"
            if "description" in definitions[name]:
                yield definitions[name]["description"] + "\n"
            yield _table(definitions[name], definitions)


def _topics() -> Iterator[str]:
    yield "## Topics\n"
    yield "| topic | written by | key | partitions | kept |\n|---|---|---|---|---|"
    for topic in TOPICS:
        yield f"| `{topic.name}` | {_writer(topic)} | {_key(topic)} | {topic.partitions} | {_kept(topic)} |"
    yield f"""
Partition counts never change in place ([ADR 0003](adr/0003-relay-and-topics.md)). An adapter's record is at most
{MAX_RECORD_BYTES // 1024} KiB, an event of ours at most {MAX_STORED_EVENT_BYTES // 1024} KiB.
"""


def _key(topic: Topic) -> str:
    if topic is INTERACTIONS:
        return "source and external id, never an address"
    return "key id" if topic is KEYS else "aggregate id"


def _kept(topic: Topic) -> str:
    if topic.compacted:
        return "compacted: the newest record of each key"
    return "for ever" if topic.retention_ms is None else f"{topic.retention_ms // DAY_MS} days"


def _wire() -> Iterator[str]:
    yield WIRE
    yield f"```json\n{json.dumps(example(), indent=2)}\n```\n"
    yield HEADERS


def example() -> dict[str, Any]:
    """The document of an event with fixed values."""
    lead = UUID("7c1b7d2e-3c0f-4d6e-9a53-0d8f1c2b3a41")
    identity = event_id(lead, 1)
    block = Sealed(event=identity, subject=lead, key=UUID("1f0e4c52-9b7a-4b8e-8c55-2d1a6f3e7b90"), box="c2VhbGVk")
    return to_document(
        Recorded(
            id=identity,
            source="/crm/sales",
            subject=lead,
            sequence=1,
            time=datetime(2026, 3, 2, 9, 30, 0, 250_000, UTC),
            actor="web-shop",
            correlation="5b6d1c1e-0f43-4a3e-8a2f-6e2f0a9d7c11",
            causation="e4a1f9d0-72b3-4c5d-9e60-1b2c3d4e5f60",
            data=LeadCaptured(occurred_at=datetime(2026, 3, 2, 9, 29, 58, tzinfo=UTC), source="web", inquiry=block),
        )
    )


if __name__ == "__main__":
    sys.stdout.write(catalogue())
