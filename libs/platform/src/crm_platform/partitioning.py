"""Where a key goes: Kafka's default partitioner (murmur2 of the key bytes), computed by ourselves.

Knowing the partition before publishing lets a receipt name it and `ce_previous` follow from the store alone.
"""

from functools import lru_cache
from uuid import UUID

from aiokafka.partitioner import murmur2


def key_of(stream: UUID) -> bytes:
    """The record key of an aggregate's events."""
    return str(stream).encode()


@lru_cache(maxsize=65_536)
def partition_of(stream: UUID, partitions: int) -> int:
    """The partition of an aggregate's events in a topic with that many partitions."""
    hashed: int = murmur2(key_of(stream))
    return (hashed & 0x7FFFFFFF) % partitions
