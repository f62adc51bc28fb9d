"""The records of crm.keys: a subject's key, wrapped, or a mark that it is destroyed (docs/adr/0005, docs/adr/0019).

The topic is compacted, so a mark drops every earlier record of its key, and stays for ever: the topic is the ledger of
destroyed keys. A key proves itself by unwrapping, a mark by its MAC, for whoever can make one can destroy data.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from aiokafka import ConsumerRecord

from crm_events.topics import KEYS
from crm_platform import kafka
from crm_platform.authenticity import HEADER as MAC_HEADER
from crm_platform.authenticity import Authenticator
from crm_platform.partitioning import address_of
from crm_platform.sealing import InstallationKey, SealBrokenError

_DESTROYED = "destroyed"
MARKED = b'"destroyed"'
"""Stands in every mark."""
_TYPE = b"destroyed subject key"


class WrappedKey(NamedTuple):
    """A key of the service that owns it."""

    key: UUID
    owner: str
    wrapped: bytes


class Destroyed(NamedTuple):
    """The key is destroyed, for good."""

    key: UUID
    at: datetime


class Absent(NamedTuple):
    """A record without a value: the key is gone from the topic, and comes back with the next record of it."""

    key: UUID


def key_record(key: UUID, owner: str, wrapped: bytes) -> kafka.Outgoing:
    document = orjson.dumps({"owner": owner, "wrapped": wrapped.hex()})
    address = address_of(key, KEYS.partitions)
    return kafka.Outgoing(address.partition, address.key, document, [])


def mark(key: UUID, at: datetime, authenticator: Authenticator) -> kafka.Outgoing:
    """The record that says that a key is destroyed."""
    (record_key, partition), value = address_of(key, KEYS.partitions), orjson.dumps({_DESTROYED: at})
    mac = authenticator.mac(KEYS.name, partition, 0, 0, _TYPE, record_key, value)
    return kafka.Outgoing(partition, record_key, value, [(MAC_HEADER, mac)])


class KeyRecords:
    """Reads the records of crm.keys."""

    def __init__(self, installation: InstallationKey) -> None:
        self._installation = installation
        self._authenticator = Authenticator(installation)

    def read(self, record: ConsumerRecord) -> WrappedKey | Destroyed | Absent:
        """Raises SealBrokenError for what this installation did not write; anybody can have written an `Absent`."""
        key = key_id(record)
        if record.value is None:
            return Absent(key)
        document = _document(record.value)
        if _DESTROYED in document:
            return self._destroyed(key, record, document)
        try:
            owner, wrapped = str(document["owner"]), bytes.fromhex(document["wrapped"])
        except (ValueError, TypeError, KeyError) as malformed:
            raise SealBrokenError("the record holds no wrapped subject key") from malformed
        self._installation.unwrap(key, wrapped)
        return WrappedKey(key, owner, wrapped)

    def _destroyed(self, key: UUID, record: ConsumerRecord, document: Mapping[str, Any]) -> Destroyed:
        mac = dict(reversed(record.headers)).get(MAC_HEADER) or b""
        if not self._authenticator.proves(mac, KEYS.name, record.partition, 0, 0, _TYPE, record.key, record.value):
            raise SealBrokenError("the mark of a destroyed key does not prove that this installation made it")
        return Destroyed(key, datetime.fromisoformat(document[_DESTROYED]))


def key_id(record: ConsumerRecord) -> UUID:
    """Raises SealBrokenError."""
    try:
        return UUID((record.key or b"").decode())
    except ValueError as malformed:
        raise SealBrokenError("the record's key is not the id of a subject key") from malformed


def _document(value: bytes) -> Mapping[str, Any]:
    try:
        document = orjson.loads(value)
    except orjson.JSONDecodeError as malformed:
        raise SealBrokenError("the record holds no wrapped subject key") from malformed
    return document if isinstance(document, dict) else {}
