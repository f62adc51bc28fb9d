"""Reading records: from Kafka's bytes to an event at its place."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec
import orjson
from aiokafka import ConsumerRecord
from msgspec.structs import replace

from crm_events.envelope import Recorded, UnknownEventError, UnreadableEventError
from crm_events.event import Event
from crm_events.registry import Registry
from crm_events.topics import ERASURES, INTERACTIONS, MAX_RECORD_BYTES, context_topic
from crm_platform import authenticity, kafka
from crm_platform.authenticity import Authenticator
from crm_platform.upcasts import read_event

UNCHAINED_TOPICS = frozenset({INTERACTIONS.name, ERASURES.name})
"""Topics that several write: their records have no place in a chain. What is malformed there is set aside with its
reason, and the records behind it flow.
"""
WRITTEN_BY_OTHERS = frozenset({INTERACTIONS.name})
"""Of those, the ones that adapters write: nothing proves who did."""
NO_LINK = (0, 0)
"""The place that a record of ours in such a topic is authenticated with."""
POSITION_DIGITS = 18
"""As many as a 64-bit store holds without fail."""
KEY_LENGTH = 100
STRUCTURED_PREFIX = b"application/cloudevents"
BINARY_ATTRIBUTES = (
    "id", "source", "type", "subject", "time", "sequence", "correlationid", "causationid", "actor",
)  # fmt: skip


class Link(NamedTuple):
    """An event's link in the chain of its partition: its position in the store, and that of the one before it."""

    position: int
    previous: int


class Inbound(msgspec.Struct, frozen=True):
    """A record as it was read: its event, or the type that is not handled here, or why it cannot be read.

    `unknown` says that this release has not even heard of the unhandled type. `given_up` says that an operator has
    discarded the event.

    `key` is the record's key as text. `link` is None where the topic has no chain (an adapter's), and where the record
    does not prove that a relay of ours wrote it.
    """

    record: ConsumerRecord
    key: str
    link: Link | None = None
    event: Recorded[Event] | None = None
    unhandled: str | None = None
    unknown: bool = False
    refusal: str | None = None
    given_up: bool = False

    def with_event(self, event: Recorded[Event]) -> "Inbound":
        return replace(self, event=event)

    def refused(self, reason: str) -> "Inbound":
        """The same record, which cannot be read for that reason."""
        return replace(self, event=None, refusal=reason)

    @property
    def applied_event(self) -> Recorded[Event]:
        """The event, of a record that was applied: only what was read can be."""
        assert self.event is not None  # noqa: S101 - see above
        return self.event

    @property
    def event_id(self) -> str | None:
        """The event's id: of an event that cannot be read, the one that its headers claim."""
        if self.event is not None:
            return str(self.event.id)
        return _claimed(self.record, "ce_id")

    @property
    def type_name(self) -> str | None:
        return self.event.data.type_name() if self.event is not None else _claimed(self.record, "ce_type")


class RecordReader:
    """Reads records for one consumer, which handles some of the registry's event types, in every version of them."""

    def __init__(self, registry: Registry, handled: Iterable[type[Event]], authenticator: Authenticator) -> None:
        self._registry = registry
        self._handled = frozenset(handled)
        self._handled_families = {_family(event.type_name()) for event in self._handled}
        self._passed_over = {
            name.encode(): name
            for event in registry
            if event not in self._handled
            for name in (*event.older_type_names(), event.type_name())
        }
        self._authenticator = authenticator

    def read(self, record: ConsumerRecord) -> Inbound:
        """Read a record in structured or in binary mode; whatever is wrong with it is told, never raised."""
        key, link = key_of(record), None
        try:
            if record.topic in UNCHAINED_TOPICS:
                event = _unchained_event(record, self._registry, self._authenticator)
            else:
                headers = _headers_of(record)
                link = _proven_link(record, headers, self._authenticator)
                passed_over = self._passed_over.get(headers.get("ce_type", b""))
                if passed_over is not None:
                    return Inbound(record, key, link, unhandled=passed_over)
                event = read_event(_document(record, headers), self._registry)
        except UnknownEventError as unknown:
            return self._unknown(Inbound(record, key, link), unknown.type_name)
        except UnreadableEventError as refusal:
            return Inbound(record, key, link, refusal=str(refusal))
        if type(event.data) not in self._handled:
            return Inbound(record, key, link, unhandled=event.data.type_name())
        return Inbound(record, key, link, event)

    def _unknown(self, inbound: Inbound, type_name: str) -> Inbound:
        """A type that nobody here has heard of is passed over; a new version of one that is handled is not."""
        if inbound.record.topic in UNCHAINED_TOPICS:
            topic = inbound.record.topic
            return inbound.refused(f"{_printable(type_name)!r} is no type that may be written to {topic}")
        if _family(type_name) in self._handled_families:
            return inbound.refused(f"{_printable(type_name)} is a version that this release cannot read")
        return replace(inbound, unhandled=type_name, unknown=True)


def link_of(record: ConsumerRecord, authenticator: Authenticator) -> Link:
    """The record's place, once it is certain that a relay of ours has put it there; raises UnreadableEventError."""
    return _proven_link(record, _headers_of(record), authenticator)


def _proven_link(record: ConsumerRecord, headers: Mapping[str, bytes], authenticator: Authenticator) -> Link:
    link = Link(_number(headers, "ce_position"), _number(headers, "ce_previous"))
    _prove(record, headers, link, authenticator)
    return link


def _headers_of(record: ConsumerRecord) -> dict[str, bytes]:
    """The first header of each name; one without a value is empty."""
    return {name: value or b"" for name, value in reversed(record.headers)}


def _prove(
    record: ConsumerRecord, headers: Mapping[str, bytes], link: tuple[int, int], authenticator: Authenticator
) -> None:
    """Raises UnreadableEventError where nobody of this installation has put the record at that place."""
    type_name = headers.get("ce_type", b"")
    mac = headers.get(authenticity.HEADER, b"")
    if not authenticator.proves(
        mac, record.topic, record.partition, *link, type_name, record.key or b"", record.value or b""
    ):
        raise UnreadableEventError(
            f"the header {authenticity.HEADER} does not prove that this installation wrote the record"
        )


def key_of(record: ConsumerRecord) -> str:
    """The record's key as text: an aggregate's id. A key that is none of ours is told by its hash or left empty."""
    key: bytes = record.key or b""
    try:
        text = key.decode("ascii")
    except UnicodeDecodeError:
        text = ""
    if key and (not text.isprintable() or not text or len(text) > KEY_LENGTH):
        return f"sha256:{hashlib.sha256(key).hexdigest()}"
    return text or "none"


def _unchained_event(record: ConsumerRecord, registry: Registry, authenticator: Authenticator) -> Recorded[Event]:
    """An event of a topic that several write: the size of every door, and the topic's own types only."""
    size = len(record.value or b"")
    if size > MAX_RECORD_BYTES:
        raise UnreadableEventError(f"the record has {size} bytes, over the {MAX_RECORD_BYTES} that are taken")
    headers = _headers_of(record)
    if record.topic not in WRITTEN_BY_OTHERS:
        _prove(record, headers, NO_LINK, authenticator)
    event = read_event(_document(record, headers), registry)
    if context_topic(event.data.context) != record.topic:
        raise UnknownEventError(event.data.type_name())
    return event


def _document(record: ConsumerRecord, headers: Mapping[str, bytes]) -> Mapping[str, Any]:
    if record.value is None:
        raise UnreadableEventError("the record has no value; only crm.keys knows tombstones")
    try:
        value = orjson.loads(record.value)
    except orjson.JSONDecodeError as malformed:
        raise UnreadableEventError(
            f"the value is not JSON in UTF-8: {malformed.msg} at byte {malformed.pos}"
        ) from malformed
    if headers.get("content-type", b"").lower().startswith(STRUCTURED_PREFIX):
        if not isinstance(value, dict):
            raise UnreadableEventError("a structured CloudEvents record is a JSON object")
        return value
    if "ce_type" not in headers:
        raise UnreadableEventError(
            "the record is no CloudEvents record: it has neither the header content-type"
            " application/cloudevents+json (structured mode) nor the header ce_type (binary mode)"
        )
    texts = ((name, headers.get(f"ce_{name}")) for name in BINARY_ATTRIBUTES)
    return {name: text.decode(errors="replace") for name, text in texts if text is not None} | {"data": value}


def _number(headers: Mapping[str, bytes], name: str) -> int:
    text = headers.get(name, b"")
    if not text:
        raise UnreadableEventError(f"the header {name} is missing")
    if not (text.isdigit() and len(text) <= POSITION_DIGITS):
        raise UnreadableEventError(f"the header {name} is not a number of at most {POSITION_DIGITS} digits")
    return int(text)


def _claimed(record: ConsumerRecord, name: str) -> str | None:
    text = kafka.header(record.headers, name)
    return None if text is None else _printable(text)


def _printable(text: str) -> str:
    """Somebody else's words, fit for a log line and a row."""
    return "".join(c if c.isprintable() else "?" for c in text[:KEY_LENGTH])


def _family(type_name: str) -> str:
    """The type without its version: `crm.sales.LeadCaptured` of `crm.sales.LeadCaptured.v1`."""
    name, separator, version = type_name.rpartition(".v")
    return name if separator and version.isdecimal() else type_name
