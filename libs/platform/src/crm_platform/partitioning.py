"""Where a key goes: Kafka's default partitioner (murmur2 of the key bytes), computed by ourselves.

Knowing the partition before publishing lets a receipt name it and `ce_previous` follow from the store alone.
"""

from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

from aiokafka.partitioner import murmur2


def key_of(stream: UUID) -> bytes:
    """The record key of an aggregate's events."""
    return str(stream).encode()


class Address(NamedTuple):
    """Where a record goes within its topic."""

    key: bytes
    partition: int


@lru_cache(maxsize=65_536)
def address_of(stream: UUID, partitions: int) -> Address:
    """The key and the partition of an aggregate's events in a topic with that many partitions."""
    key = key_of(stream)
    hashed: int = murmur2(key)
    return Address(key, (hashed & 0x7FFFFFFF) % partitions)


def partition_of(stream: UUID, partitions: int) -> int:
    """The partition of an aggregate's events in a topic with that many partitions."""
    return address_of(stream, partitions).partition
