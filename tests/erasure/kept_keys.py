"""A person's keys, as every place keeps them: each time wrapped anew."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

import orjson
import psycopg
from ledger import mongodb
from tests.erasure.topics import records_of

from crm_events.topics import KEYS
from crm_local.credentials import installation
from crm_local.services import EVENT_STORING, SERVICES
from crm_local.stack import Stack

_OF_SUBJECTS = "SELECT key, wrapped FROM subject_keys WHERE subject = ANY(%s::uuid[]) AND wrapped IS NOT NULL"
_WITH_IDS = "SELECT key, wrapped FROM subject_keys WHERE key = ANY(%s::uuid[]) AND wrapped IS NOT NULL"


@dataclass(frozen=True)
class KeptKeys:
    """`wrapped` as they are stored in PostgreSQL, in the keyrings and on crm.keys; `bare` are the keys themselves."""

    ids: frozenset[UUID]
    wrapped: frozenset[bytes]
    bare: frozenset[bytes]


async def keys_of(stack: Stack, subjects: Sequence[str]) -> KeptKeys:
    """The keys under which the data of these subjects is sealed."""
    stored = dict(_stored(stack, _OF_SUBJECTS, subjects))
    wraps = installation(stack.folder)
    published = [
        bytes.fromhex(orjson.loads(record.value)["wrapped"])
        for record in await records_of(stack.addresses.kafka_bootstrap, KEYS)
        if UUID(record.key.decode()) in stored
    ]
    return KeptKeys(
        ids=frozenset(stored),
        wrapped=frozenset([*stored.values(), *(wrapped for _, wrapped in _ringed(stack, stored)), *published]),
        bare=frozenset(wraps.unwrap(key, wrapped).secret for key, wrapped in stored.items()),
    )


def stores_with(stack: Stack, keys: KeptKeys) -> set[str]:
    """The databases that hold one of the keys, by name."""
    ids = [str(key) for key in keys.ids]
    return {"an event store" for _ in _stored(stack, _WITH_IDS, ids)} | {place for place, _ in _ringed(stack, keys.ids)}


def _stored(stack: Stack, question: str, ids: Sequence[str]) -> Iterator[tuple[UUID, bytes]]:
    for service in EVENT_STORING:
        with psycopg.connect(stack.addresses.postgres_uri(service)) as connection:
            yield from connection.execute(question.encode(), (ids,)).fetchall()


def _ringed(stack: Stack, keys: Collection[UUID]) -> Iterator[tuple[str, bytes]]:
    with mongodb(stack.addresses.mongodb_uri) as client:
        for service in SERVICES:
            for row in client[f"crm_{service}"]["keyring"].find({"_id": {"$in": [str(key) for key in keys]}}):
                yield f"{service}'s keyring", bytes(row["wrapped"])
