"""Interactions taken over HTTP: read one by one, so that a bad one never spoils the others.

What comes out is the record that an adapter would have written to Kafka itself: same source, same external id, same
identity, so an adapter may change its door without a fact counting twice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from typing_extensions import TypedDict  # pydantic reads no other on Python 3.11

from crm_events.adapter import InteractionRecorded, names_an_adapter
from crm_events.envelope import STRUCTURED, Recorded, to_document
from crm_events.reasons import reason
from crm_events.topics import MAX_RECORD_BYTES
from crm_platform.identifiers import NotAnIdentifier, normalise
from crm_platform.tracing import TRACEPARENT
from crm_platform.work import CLOCK_SKEW

MAX_INTERACTIONS = 2_000
MAX_DEPTH = 8
"""An interaction is three levels deep; more than this is refused unread."""

Source = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9/][A-Za-z0-9._~:/-]*$", max_length=128),
    AfterValidator(names_an_adapter),
]


class InteractionBatch(BaseModel):
    """What an adapter knows, up to 2,000 interactions at a time.

    `source` names the adapter; with an interaction's `external_id` it makes a repeat recognisable.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Source
    interactions: Annotated[list[InteractionRecorded], Field(min_length=1, max_length=MAX_INTERACTIONS)]


class UnreadBatch(InteractionBatch):
    """A batch whose interactions are still to be read."""

    interactions: Annotated[list[Any], Field(min_length=1, max_length=MAX_INTERACTIONS)]


class MemberError(TypedDict):
    """Which member of the interaction was refused (RFC 6901; "" is the whole), and why; the value is not repeated."""

    pointer: str
    message: str


class AcceptedInteraction(TypedDict):
    """`id` is the platform's id of the interaction: the one in the customer's timeline."""

    index: int
    external_id: str
    accepted: Literal[True]
    id: UUID


class RefusedInteraction(TypedDict):
    index: int
    external_id: str | None
    accepted: Literal[False]
    errors: list[MemberError]


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One record for crm.interactions, ready to be written."""

    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Envelope:
    """What all records of one request share."""

    source: str
    now: datetime
    actor: str
    request: str
    traceparent: str | None = None


def read_interaction(
    index: int, item: Any, envelope: Envelope
) -> tuple[AcceptedInteraction, LogRecord] | RefusedInteraction:
    """One interaction as the record to write and its receipt, or why it is refused."""
    if not isinstance(item, dict):
        return _refused(index, item, "Input should be an object")
    if _deeper_than(MAX_DEPTH, item):
        return _refused(index, item, f"Input should not be nested more than {MAX_DEPTH} levels deep")
    try:
        interaction = InteractionRecorded.model_validate(item)
    except ValidationError as invalid:
        return _refused(index, item, *_member_errors(invalid))
    if errors := [*_time_errors(interaction, envelope.now), *_identifier_errors(interaction)]:
        return _refused(index, item, *errors)
    record = _record(interaction, envelope)
    if len(record.value) > MAX_RECORD_BYTES:
        return _refused(
            index, item, f"It makes a record of {len(record.value)} bytes, and at most {MAX_RECORD_BYTES} are taken"
        )
    receipt: AcceptedInteraction = {
        "index": index,
        "external_id": interaction.external_id,
        "accepted": True,
        "id": interaction.identity(envelope.source),
    }
    return receipt, record


def _record(interaction: InteractionRecorded, envelope: Envelope) -> LogRecord:
    identity = interaction.identity(envelope.source)
    recorded = Recorded(
        id=identity,
        source=envelope.source,
        subject=identity,
        sequence=0,
        time=envelope.now,
        actor=envelope.actor,
        correlation=str(identity),
        causation=envelope.request,
        data=interaction,
        traceparent=envelope.traceparent,
    )
    return LogRecord(
        key=f"{envelope.source}/{interaction.external_id}".encode(),
        value=orjson.dumps(to_document(recorded)),
        headers=(
            ("content-type", STRUCTURED.encode()),
            ("ce_type", interaction.type_name().encode()),
            ("ce_id", str(identity).encode()),
            *(((TRACEPARENT, envelope.traceparent.encode()),) if envelope.traceparent else ()),
        ),
    )


def _refused(index: int, item: Any, *errors: MemberError | str) -> RefusedInteraction:
    """An error that is mere text is about the interaction as a whole."""
    external_id = item.get("external_id") if isinstance(item, dict) else None
    return {
        "index": index,
        "external_id": external_id if isinstance(external_id, str) else None,
        "accepted": False,
        "errors": [{"pointer": "", "message": error} if isinstance(error, str) else error for error in errors],
    }


def _member_errors(invalid: ValidationError) -> Iterator[MemberError]:
    """Without the values: they may be personal."""
    for error in invalid.errors(include_input=False, include_url=False):
        steps = (str(step).replace("~", "~0").replace("/", "~1") for step in error["loc"])
        pointer = "".join(f"/{step}" for step in steps)
        yield {"pointer": pointer, "message": reason(error)}


def _time_errors(interaction: InteractionRecorded, now: datetime) -> Iterator[MemberError]:
    """What the services say of a command from the future; it would stand first in its timeline until then."""
    if interaction.occurred_at > now + CLOCK_SKEW:
        minutes = CLOCK_SKEW // timedelta(minutes=1)
        yield {
            "pointer": "/occurred_at",
            "message": f"It lies more than {minutes} minutes in the future; send when it happened",
        }


def _identifier_errors(interaction: InteractionRecorded) -> Iterator[MemberError]:
    """What contacts would set aside, said here, where the adapter still hears it."""
    for identifier in interaction.party.identifiers():
        try:
            normalise(identifier)
        except NotAnIdentifier as refusal:
            yield {"pointer": f"/party/{identifier.kind.value}", "message": str(refusal)}


def _deeper_than(levels: int, value: Any) -> bool:
    if not isinstance(value, dict | list):
        return False
    members: Sequence[Any] = value if isinstance(value, list) else list(value.values())
    return levels == 0 or any(_deeper_than(levels - 1, member) for member in members)
