"""A record as it travels: a CloudEvents document on the topic that adapters write."""

import json
from dataclasses import dataclass
from datetime import datetime

from crm_events.adapter import AdapterRecord
from crm_events.envelope import STRUCTURED, Recorded, to_document
from crm_events.topics import MAX_RECORD_BYTES
from crm_local.publish.refusal import LineRefusedError


@dataclass(frozen=True, slots=True)
class Message:
    """A Kafka record, complete but for its topic."""

    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


def adapter(name: str) -> str:
    """The CloudEvents `source` of the adapter that is called `name`."""
    return f"/adapters/{name}"


def to_message(record: AdapterRecord, name: str, now: datetime) -> Message:
    """The message that publishes a record; its id follows from adapter and external id, so a repeat is recognised.

    Raises LineRefusedError if it would be longer than a record may be.
    """
    source = adapter(name)
    identity = record.identity(source)
    document = to_document(
        Recorded(
            id=identity,
            source=source,
            subject=identity,
            sequence=0,
            time=now,
            actor=source,
            correlation=str(identity),
            causation=str(identity),
            data=record,
        )
    )
    value = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    if len(value) > MAX_RECORD_BYTES:
        raise LineRefusedError(f"the record has {len(value)} bytes, {MAX_RECORD_BYTES} is the most it may have")
    headers = (
        ("content-type", STRUCTURED.encode()),
        ("ce_type", str(document["type"]).encode()),
        ("ce_id", str(identity).encode()),
    )
    return Message(key=f"{source}/{record.external_id}".encode(), value=value, headers=headers)
