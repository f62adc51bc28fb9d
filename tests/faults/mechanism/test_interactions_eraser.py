"""F36: what adapters wrote about an erased person is deleted from the parking lot, and of what was discarded."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
import psycopg
import pytest
from aiokafka import ConsumerRecord, TopicPartition
from libs.platform.tests.kafka_topics import AUTHENTICATOR
from libs.platform.tests.shop_store import order
from psycopg.sql import SQL, Identifier

from crm_contacts.application import ContactsApplication
from crm_contacts.commands import RegisterContact
from crm_contacts.domain import PRIVATE_EVENTS
from crm_contacts.identity import Identity
from crm_contacts.interactions_eraser import InteractionsEraser
from crm_contacts.policies import IdentifyParties
from crm_events import REGISTRY
from crm_events.adapter import AdapterRecord, InteractionRecorded, PersonDescribed
from crm_events.envelope import STRUCTURED
from crm_events.parties import Identifier as PartyIdentifier
from crm_events.parties import IdentifierKind
from crm_events.topics import CONTACTS, INTERACTIONS
from crm_platform import mongo
from crm_platform.cursor import Cursor
from crm_platform.delivery import Parked
from crm_platform.event_store.application import EventStore
from crm_platform.event_store.committer import Committer
from crm_platform.event_store.store import CommandStore
from crm_platform.event_store.subject_keys import SubjectKeys
from crm_platform.identifiers import BlindIndexer
from crm_platform.inbound import RecordReader
from crm_platform.key_pool import KafkaKeyPool
from crm_platform.keyring import Keyring
from crm_platform.policy_parking import PolicyParking
from crm_platform.policy_store import PolicyStore
from crm_platform.purge import Purge, Purged
from crm_platform.reactions import Reactions
from crm_platform.sealing import InstallationKey
from crm_platform.wakeup import Wakeup

Told = dict[str, tuple[type[AdapterRecord], dict[str, Any]]]
"""Records of adapters, by their keys."""
ANN = PartyIdentifier(kind=IdentifierKind.EMAIL, value="ann@example.org")
PLACE = TopicPartition(INTERACTIONS.name, 0)
REGISTRY_OF_CONTACTS = REGISTRY.with_events(PRIVATE_EVENTS)
ABOUT_ANN: Told = {
    "by address": (InteractionRecorded, {"party": {"email": "Ann@Example.org"}}),
    "by id": (InteractionRecorded, {"party": {"contact_id": "<ann>"}}),
    "described": (PersonDescribed, {"identifiers": [ANN.model_dump(mode="json")]}),
}
ABOUT_OTHERS: Told = {
    "another address": (InteractionRecorded, {"party": {"email": "bob@example.org"}}),
    "a name": (InteractionRecorded, {"party": {"name": "Ann"}}),
}


@dataclass
class Contacts:
    """The event store of contacts, and what it has parked of crm.interactions."""

    uri: str
    store: CommandStore
    application: ContactsApplication
    lot: PolicyStore
    events: EventStore
    reader: RecordReader
    eraser: InteractionsEraser

    async def register(self) -> UUID:
        command = RegisterContact(identifiers=(ANN,))
        return (await self.store.run(self.application.register, command, order(now=datetime.now(UTC)))).id

    def park(self, told: Told, ann: UUID) -> None:
        inbounds = [self.reader.read(_record(key, kind, said, ann)) for key, (kind, said) in told.items()]
        assert not [inbound.refusal for inbound in inbounds if inbound.refusal]
        parked = [Parked(inbound, "the test refuses it") for inbound in inbounds]
        self.events.store.append((), after=lambda _: list(self.lot.park(parked)))

    def kept(self, table: str) -> dict[str, bool]:
        """The keys that stand in the table, and whether what was said stands there, too."""
        with psycopg.connect(self.uri) as connection:
            question = SQL("SELECT key, value IS NOT NULL FROM {}").format(Identifier(table))
            return dict(connection.execute(question).fetchall())


@pytest.fixture
def contacts_of(
    postgres_uri: str, installation: InstallationKey, keys: KafkaKeyPool, bootstrap: str, database: mongo.Database
) -> Any:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Contacts]:
        identity = Identity(BlindIndexer(bytes(32)))
        policy = IdentifyParties(identity)
        events = await asyncio.to_thread(EventStore, postgres_uri, REGISTRY_OF_CONTACTS)
        committer = Committer(events, SubjectKeys(events.store, installation, keys), CONTACTS)
        store = CommandStore(committer)
        store.start()
        ring = Keyring(database, installation, bootstrap, "none", Wakeup())
        reactions = Reactions(policy, committer, ring, lambda: datetime.now(UTC))
        parking = PolicyParking(policy, REGISTRY, events.store, reactions, store, AUTHENTICATOR)
        purge = Purge(Purged(INTERACTIONS, policy.name), events.store, bootstrap, 3600)
        lot = PolicyStore(policy.name, events.store)
        events.store.append((), after=lambda _: list(lot.moves({PLACE: Cursor()}, {PLACE: Cursor(9)})))
        try:
            yield Contacts(
                uri=postgres_uri,
                store=store,
                application=ContactsApplication(identity),
                lot=lot,
                events=events,
                reader=RecordReader(REGISTRY, policy.reactions, AUTHENTICATOR),
                eraser=InteractionsEraser(policy, purge, parking, events),
            )
        finally:
            await store.stop()
            await asyncio.to_thread(events.close)

    return opened


@pytest.mark.row("F36", "records of the person parked and discarded", "their content is deleted, and no other")
async def test_what_was_parked_or_discarded_of_the_person_is_deleted_and_nothing_else(contacts_of: Any) -> None:
    async with contacts_of() as contacts:
        ann = await contacts.register()
        contacts.park({**ABOUT_ANN, **ABOUT_OTHERS}, ann)
        given_up = contacts.lot.events(INTERACTIONS.name, "by address", 1)
        contacts.events.store.append((), after=lambda _: list(contacts.lot.discard(given_up, "test", "no use")))
        await contacts.eraser.erase(ann)
        assert contacts.kept("parked_events") == dict.fromkeys(ABOUT_OTHERS, True)
        assert contacts.kept("discarded_events") == dict.fromkeys(ABOUT_ANN, False)
        await contacts.eraser.erase(ann)
        assert contacts.kept("parked_events") == dict.fromkeys(ABOUT_OTHERS, True)


def _record(key: str, kind: type[AdapterRecord], said: dict[str, Any], ann: UUID) -> ConsumerRecord:
    known = {"external_id": key, "occurred_at": "2026-03-01T10:00:00Z"}
    how = {"channel": "email", "direction": "inbound"} if kind is InteractionRecorded else {}
    attributes = {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": "/adapters/test",
        "type": kind.type_name(),
        "time": "2026-03-01T10:00:00Z",
        "data": {**known, **how, **said},
    }
    value = orjson.dumps(attributes).replace(b"<ann>", str(ann).encode())
    return ConsumerRecord(
        topic=PLACE.topic,
        partition=PLACE.partition,
        offset=len(key),
        timestamp=0,
        timestamp_type=0,
        key=key.encode(),
        value=value,
        checksum=None,
        serialized_key_size=len(key),
        serialized_value_size=len(value),
        headers=[("content-type", STRUCTURED.encode())],
    )
