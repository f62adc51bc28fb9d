"""The envelope around every event: a CloudEvents 1.0 document in structured mode.

Source of the format: CloudEvents 1.0 core and its JSON format. What is stored is what is published (docs/adr/0002).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID, uuid5

from pydantic import AfterValidator, BaseModel, ValidationError

from crm_events.adapter import AdapterRecord, names_an_adapter
from crm_events.event import Event, Instant, Sealed, written
from crm_events.reasons import reason
from crm_events.registry import Registry
from crm_events.upcasting import UpcastError, upcast

E_co = TypeVar("E_co", bound=Event, covariant=True)

STRUCTURED = "application/cloudevents+json"
"""The content type of a structured-mode record."""

PREVIOUS_HASH = "previoushash"
"""The attribute that holds the hash of the event before it in its stream, over the bytes that are stored and published:
SHA-256 in base64url without padding. A stream's first event has none, and events of releases before this one have none.
"""

_REASON_LENGTH = 1_000
_BEFORE_ID = b'{"specversion":"1.0","id":"'
_ID_LENGTH = 36
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class UnreadableEventError(ValueError):
    """A document that claims to be an event of ours and is not."""


class UnknownEventError(LookupError):
    """An event of a type that this release does not know; a tolerant reader passes over it."""

    def __init__(self, type_name: str) -> None:
        super().__init__(f"no event type {type_name!r} is known to this release")
        self.type_name = type_name


@dataclass(frozen=True, slots=True)
class Recorded(Generic[E_co]):
    """An event in its envelope.

    `subject` is the stream (aggregate) id, `sequence` the aggregate's version after the event, counted from 1; an
    adapter's record has sequence 0. `time` is when it was recorded. `correlation` names the whole story, `causation`
    the command or event that led to this one. `traceparent` is the W3C trace context in which it was recorded, None
    where that was not traced.
    """

    id: UUID
    source: str
    subject: UUID
    sequence: int
    time: datetime
    actor: str
    correlation: str
    causation: str
    data: E_co
    traceparent: str | None = None


def event_id(stream: UUID, sequence: int) -> UUID:
    """The id of an event follows from its place, so publishing it again is recognisable."""
    return uuid5(stream, str(sequence))


def written_id(document: bytes) -> bytes | None:
    """The event's id in a document as `to_document` lays it out, without parsing it; None in any other."""
    if not document.startswith(_BEFORE_ID):
        return None
    return document[len(_BEFORE_ID) : len(_BEFORE_ID) + _ID_LENGTH]


def to_document(recorded: Recorded[Event], previous_hash: str | None = None) -> dict[str, Any]:
    """The CloudEvents document of an event; `data` holds JSON types only.

    The id stands at its place, and `traceparent` before `data`: they are found in the written document without parsing
    it. `previous_hash` is written as the attribute PREVIOUS_HASH.
    """
    document: dict[str, Any] = {
        "specversion": "1.0",
        "id": str(recorded.id),
        "source": recorded.source,
        "type": recorded.data.type_name(),
        "subject": str(recorded.subject),
        "time": written(recorded.time),
        "datacontenttype": "application/json",
        "correlationid": recorded.correlation,
        "causationid": recorded.causation,
        "actor": recorded.actor,
    }
    if recorded.traceparent is not None:
        document["traceparent"] = recorded.traceparent
    document["data"] = recorded.data.model_dump(mode="json", exclude_none=True)
    if recorded.sequence:
        document["sequence"] = str(recorded.sequence)
    if previous_hash is not None:
        document[PREVIOUS_HASH] = previous_hash
    return document


class _Attributes(BaseModel):
    """What every CloudEvents document of ours tells beside its type and its data. All of it is text there."""

    source: str
    time: Instant
    actor: str = ""
    correlationid: str = ""
    causationid: str = ""


class _AdapterAttributes(_Attributes):
    """Those of an adapter's record."""

    source: Annotated[str, AfterValidator(names_an_adapter)]


class _PlacedAttributes(_Attributes):
    """Those of an event that a service has recorded: in a stream, at a place of its own."""

    id: UUID
    subject: UUID
    sequence: str


A = TypeVar("A", bound=_Attributes)


def from_document(document: Mapping[str, Any], registry: Registry) -> Recorded[Event]:
    """Read an event; one of an older version arrives in the form of today's class.

    Raises UnknownEventError for a type not in the registry, UnreadableEventError for anything malformed.
    """
    try:
        event_class, type_name = _class_of(document, registry)
        members = upcast(event_class, type_name, document["data"])
        if issubclass(event_class, AdapterRecord):
            return _of_an_adapter(document, event_class.model_validate(members))
        # Of our own events a reader passes over what it does not know, at any depth; of an adapter's it does not.
        return _of_a_service(document, event_class.model_validate(members, extra="ignore"))
    except ValidationError as refusal:
        raise UnreadableEventError(_reasons(refusal)) from refusal
    except KeyError as missing:
        raise UnreadableEventError(f"attribute {missing} is missing from the CloudEvents document") from missing
    except UnreadableEventError:
        raise
    except UpcastError as failed:
        raise UnreadableEventError(str(failed)) from failed
    except (TypeError, ValueError, AttributeError) as malformed:
        raise UnreadableEventError(f"not a CloudEvents document of ours: {type(malformed).__name__}") from malformed


def _class_of(document: Mapping[str, Any], registry: Registry) -> tuple[type[Event], str]:
    """The class that reads the event, and the name of its type."""
    type_name = document["type"]
    if not isinstance(type_name, str):
        raise UnreadableEventError("the CloudEvents attribute type must be text")
    event_class = registry.find(type_name)
    if event_class is None:
        raise UnknownEventError(type_name)
    return event_class, type_name


def _told(attributes: type[A], document: Mapping[str, Any]) -> A:
    """Raises KeyError for the first attribute that is missing, ValidationError for one that is malformed."""
    try:
        return attributes.model_validate(document)
    except ValidationError:
        for name, attribute in attributes.model_fields.items():
            if attribute.is_required() and name not in document:
                raise KeyError(name) from None
        raise


def _of_a_service(document: Mapping[str, Any], data: Event) -> Recorded[Event]:
    told = _told(_PlacedAttributes, document)
    _check_seal(data, told.id)
    return _recorded(document, told, told.id, told.subject, _sequence(told.sequence), data)


def _of_an_adapter(document: Mapping[str, Any], data: AdapterRecord) -> Recorded[Event]:
    """An adapter chooses its record's id as it likes; the platform knows the record by source and external id."""
    told = _told(_AdapterAttributes, document)
    identity = data.identity(told.source)
    return _recorded(document, told, identity, identity, 0, data)


def _recorded(
    document: Mapping[str, Any], told: _Attributes, id_: UUID, subject: UUID, sequence: int, data: Event
) -> Recorded[Event]:
    return Recorded(
        id=id_,
        source=told.source,
        subject=subject,
        sequence=sequence,
        time=told.time,
        actor=told.actor,
        correlation=told.correlationid,
        causation=told.causationid,
        data=data,
        traceparent=_traceparent(document),
    )


def _traceparent(document: Mapping[str, Any]) -> str | None:
    """A trace helps whoever looks for a fault; no event is refused for a malformed one."""
    value = document.get("traceparent")
    return value if isinstance(value, str) and _TRACEPARENT.fullmatch(value) else None


def _sequence(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise UnreadableEventError("the CloudEvents attribute sequence must be a whole number from 1, as text")
    return int(text)


def _check_seal(data: Event, recorded_id: UUID) -> None:
    block = data.personal
    if isinstance(block, Sealed) and block.event != recorded_id:
        raise UnreadableEventError("the personal block was sealed for another event")


def _reasons(refusal: ValidationError) -> str:
    """Where and why a document was refused, without the values: they may be personal.

    Bounded and printable: the names of unknown members are an adapter's, and the reason is logged and stored.
    """
    errors = refusal.errors(include_url=False, include_input=False)
    reasons = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'data'}: {reason(e)}" for e in errors)
    return "".join(c if c.isprintable() else "?" for c in reasons[:_REASON_LENGTH])
