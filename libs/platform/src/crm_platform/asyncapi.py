"""The AsyncAPI 3 document of a service: what it sends and receives on Kafka, from its composition."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from crm_events import EVENTS
from crm_events.adapter import AdapterRecord
from crm_events.envelope import PREVIOUS_HASH, STRUCTURED
from crm_events.erasures import ErasureStepTaken
from crm_events.event import Event
from crm_events.schemas import meaning
from crm_events.topics import ERASURES, KEYS, Topic, context_topic
from crm_platform.authenticity import HEADER as MAC_HEADER
from crm_platform.http.app import release
from crm_platform.service import Service
from crm_platform.topics import settings_of
from crm_platform.tracing import TRACEPARENT

VERSION = "3.0.0"
BINDING = {"bindingVersion": "0.5.0"}
SUBJECT_KEY = "SubjectKey"
"""The one message that is no event: a data subject's wrapped key, on crm.keys."""

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Operation:
    """What one part of a service does on one topic.

    `by` is the part's name; for one that receives it is its consumer group. No events at all: the topic holds keys.
    """

    action: Literal["send", "receive"]
    by: str
    topic: Topic
    events: tuple[type[Event], ...] = ()

    @property
    def type_names(self) -> tuple[str, ...]:
        """What is sent is of today's version; what is received may be of an older one."""
        if not self.events:
            return (SUBJECT_KEY,)
        older = () if self.action == "send" else (name for event in self.events for name in event.older_type_names())
        return (*older, *(event.type_name() for event in self.events))


def operations_of(service: Service) -> list[Operation]:
    """What the platform's own parts do for a service: relay, keys, policies and projections."""
    found = [Operation("receive", f"{service.name}.keyring", KEYS)]
    if service.events is not None:
        topic = service.events.topic
        found += [Operation("send", "relay", topic, _on(topic, EVENTS)), Operation("send", "key-pool", KEYS)]
    if service.keeps_personal_data:
        found.append(Operation("send", f"{service.name}.erasure-steps", ERASURES, (ErasureStepTaken,)))
    for policy in service.reactions:
        found += _received(policy.name, policy.topics, policy.reactions)
    for projection in service.read_models:
        found += _received(projection.identity, projection.topics, projection.folds)
    return found


def _received(group: str, topics: Iterable[Topic], events: Iterable[type[Event]]) -> list[Operation]:
    handled = tuple(events)
    return [Operation("receive", group, topic, _on(topic, handled)) for topic in topics]


def _on(topic: Topic, events: Iterable[type[Event]]) -> tuple[type[Event], ...]:
    return tuple(event for event in events if event.public and context_topic(event.context) == topic.name)


def asyncapi(service: Service, schemas: str, more: Sequence[Operation] = ()) -> Document:
    """The document. `schemas` is where the events' JSON Schemas are, seen from the document; `more` is what runners of
    the service do on Kafka by themselves.
    """
    operations = (*operations_of(service), *more)
    topics = {operation.topic.name: operation.topic for operation in operations}
    events = {event.type_name(): event for operation in operations for event in operation.events}
    messages = {name: _message(event, name, schemas) for event in events.values() for name in _versions(event)}
    return {
        "asyncapi": VERSION,
        "info": {
            "title": f"CRM {service.name}",
            "version": release(),
            "description": f"What the service {service.name} sends and receives on Kafka. Made from its composition.",
        },
        "defaultContentType": STRUCTURED,
        "channels": {topic.name: _channel(topic, events.values()) for topic in topics.values()},
        "operations": {_name(operation): _operation(operation) for operation in operations},
        "components": {
            "schemas": _SCHEMAS,
            "messages": {**messages, SUBJECT_KEY: _KEY_MESSAGE},
        },
    }


def _name(operation: Operation) -> str:
    """Unique, since a part has one operation on a topic."""
    return f"{operation.action} {operation.topic.name} {operation.by}".replace(" ", "-")


def _versions(event: type[Event]) -> tuple[str, ...]:
    """Every version that may stand on a topic: what was released is kept."""
    return (*event.older_type_names(), event.type_name())


# -- channels


def _channel(topic: Topic, events: Iterable[type[Event]]) -> Document:
    held = [name for event in _on(topic, events) for name in _versions(event)] or [SUBJECT_KEY]
    return {
        "address": topic.name,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in held},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": _configuration(settings_of(topic)),
                **BINDING,
            }
        },
    }


_AS_DOCUMENTED: Mapping[str, Callable[[str], Any]] = {
    "cleanup.policy": lambda policy: [policy],
    "retention.ms": int,
    "retention.bytes": int,
    "max.message.bytes": int,
}
"""The settings that the Kafka bindings know, and their types there."""


def _configuration(settings: Mapping[str, str]) -> Document:
    return {name: form(settings[name]) for name, form in _AS_DOCUMENTED.items() if name in settings}


# -- operations


def _operation(operation: Operation) -> Document:
    channel = f"#/channels/{operation.topic.name}"
    described: Document = {
        "action": operation.action,
        "channel": {"$ref": channel},
        "messages": [{"$ref": f"{channel}/messages/{name}"} for name in operation.type_names],
    }
    if operation.action == "receive":
        group = {"type": "string", "const": operation.by}
        described["bindings"] = {"kafka": {"groupId": group, **BINDING}}
    return described


# -- messages


def _message(event: type[Event], name: str, schemas: str) -> Document:
    own = {"type": {"const": name}, "data": {"$ref": f"{schemas}/{name}.json"}}
    from_adapters = issubclass(event, AdapterRecord)
    envelope, headers = ("AdapterEnvelope", "AdapterHeaders") if from_adapters else ("Envelope", "Headers")
    return {
        "name": name,
        "title": event.__name__,
        "summary": meaning(event),
        "contentType": STRUCTURED,
        "headers": {"$ref": f"#/components/schemas/{headers}"},
        "payload": {"allOf": [{"$ref": f"#/components/schemas/{envelope}"}, {"properties": own}]},
        "bindings": {"kafka": {"key": _key(from_adapters), **BINDING}},
    }


def _key(from_adapters: bool) -> Document:
    if from_adapters:
        return {"type": "string", "description": "Source and external id, never an address."}
    return {"type": "string", "format": "uuid", "description": "The aggregate's id, the document's `subject`."}


def _text(description: str, **limits: Any) -> Document:
    return {"type": "string", **limits, "description": description}


_NUMBER = r"^[0-9]{1,18}$"
_TRACE = {TRACEPARENT: _text("W3C Trace Context; absent where the event was not traced.")}
_CONTENT_TYPE = {"content-type": {"type": "string", "const": STRUCTURED}}
_ATTRIBUTES: Document = {
    "specversion": {"type": "string", "const": "1.0"},
    "id": _text("The event's id."),
    "source": _text("Who recorded it."),
    "type": _text("The event's type and version."),
    "time": _text("When it was recorded.", format="date-time"),
    "datacontenttype": {"type": "string"},
    "correlationid": _text("The whole story that the event is part of."),
    "causationid": _text("The command or event that led to it."),
    "actor": _text("Who decided it."),
    **_TRACE,
    "data": {"type": "object"},
}
_SCHEMAS: Document = {
    "Envelope": {
        "type": "object",
        "description": "A CloudEvents 1.0 document in structured mode: the bytes that the event store holds.",
        "required": ["specversion", "id", "source", "type", "subject", "time", "sequence", "data"],
        "properties": {
            **_ATTRIBUTES,
            "subject": _text("The aggregate's id.", format="uuid"),
            "sequence": _text("The aggregate's version after the event, from 1.", pattern="^[1-9][0-9]*$"),
            PREVIOUS_HASH: _text("The hash of the event before it in its stream; absent in the first."),
        },
    },
    "AdapterEnvelope": {
        "type": "object",
        "description": "A CloudEvents 1.0 document in structured mode, as a channel adapter writes it.",
        "required": ["type", "source", "time", "data"],
        "properties": _ATTRIBUTES,
    },
    "Headers": {
        "type": "object",
        "required": ["content-type", "ce_id", "ce_type", "ce_position", "ce_previous", MAC_HEADER],
        "properties": {
            **_CONTENT_TYPE,
            "ce_id": _text("The event's id, as in the document."),
            "ce_type": _text("The event's type, so that a reader can pass over it without parsing."),
            "ce_position": _text("The event's place in its service's store.", pattern=_NUMBER),
            "ce_previous": _text("The position before it in the same partition; 0 for the first.", pattern=_NUMBER),
            MAC_HEADER: _text("16 bytes that prove that a relay of this installation wrote the record."),
            **_TRACE,
        },
    },
    "AdapterHeaders": {
        "type": "object",
        "required": ["content-type"],
        "properties": {**_CONTENT_TYPE, **_TRACE},
    },
    SUBJECT_KEY: {
        "type": "object",
        "required": ["owner", "wrapped"],
        "properties": {
            "owner": _text("The service whose data the key seals."),
            "wrapped": _text("The key in hexadecimal, wrapped by the installation's key.", pattern="^([0-9a-f]{2})+$"),
        },
    },
}
_KEY_MESSAGE: Document = {
    "name": SUBJECT_KEY,
    "title": "A data subject's key",
    "summary": "A key that seals personal blocks. A record without a value says that the key is destroyed.",
    "contentType": "application/json",
    "payload": {"$ref": f"#/components/schemas/{SUBJECT_KEY}"},
    "bindings": {"kafka": {"key": {"type": "string", "format": "uuid", "description": "The key's id."}, **BINDING}},
}
