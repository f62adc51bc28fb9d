"""Somebody who says fifty things about himself, at every door that there is."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import orjson
import psycopg
from aiokafka import AIOKafkaProducer
from door import Door, eventually
from tests.erasure.words import Words

from crm_contacts.policies import IdentifyParties
from crm_events.adapter import AdapterRecord, InteractionRecorded, PersonDescribed
from crm_events.envelope import STRUCTURED
from crm_events.topics import INTERACTIONS
from crm_local.stack import Stack

SOURCE = "/adapters/planted"
AT = "2026-03-01T10:00:00Z"
LOT = f"contacts/{IdentifyParties.name}/{INTERACTIONS.name}"

Data = dict[str, Any]


class Planted:
    """A person, whose words are all of his own."""

    def __init__(self, crm: Door, adapter: AIOKafkaProducer) -> None:
        self._crm = crm
        self._adapter = adapter
        self.words = Words()
        self.contact_id = ""
        self.lead_ids: list[str] = []
        self.opportunity_id = ""
        self.ticket_id = ""
        self.in_the_clear: list[str] = []
        """Words that only adapters have written."""
        self.parked: list[str] = []
        """Where the records wait in contacts' parking lot: paths below /api/parked."""

    @property
    def subjects(self) -> list[str]:
        """All the ids under which his data is sealed."""
        return [self.contact_id, *self.lead_ids, self.ticket_id]

    @property
    def remembered(self) -> set[str]:
        """What the platform shows: of a description it takes only what it does not know, and here it knows all."""
        return {word for word in self.words.said if "described" not in word}

    async def tells(self) -> None:
        """Everything but what is parked."""
        await self._registers()
        await self._buys_nothing()
        await self._asks_for_help()
        await self._is_in_touch()

    # -- contacts

    async def _registers(self) -> None:
        crm, words = self._crm, self.words
        before = {
            "name": words("name-before"),
            "given_name": words("given-before"),
            "family_name": words("family-before"),
            "organisation": words("organisation-before"),
            "addresses": [{"lines": [words("line-before")], "country": "SE"}],
            "identifiers": [_identifier("email", words.email("email-before"))],
        }
        registered = (await crm.post("/api/contacts", before, role="sales")).expect(201)
        self.contact_id = registered.id
        after = {
            "name": words("name"),
            "given_name": words("given"),
            "family_name": words("family"),
            "organisation": words("organisation"),
            "addresses": [
                {
                    "lines": [words("line-one"), words("line-two")],
                    "city": words("city"),
                    "region": words("region"),
                    "postcode": words("postcode"),
                }
            ],
            "identifiers": [
                _identifier("email", words.email("email")),
                _identifier("phone", words.phone()),
                _identifier("handle", words("handle")),
                _identifier("cookie", words("cookie")),
            ],
        }
        tag = {"If-Match": registered.headers["ETag"]}
        changed = await crm.patch(f"/api/contacts/{registered.id}", after, role="sales", headers=tag)
        await crm.customer(after=changed.expect(200).position, handle=words("handle"))

    # -- sales

    async def _buys_nothing(self) -> None:
        crm, words = self._crm, self.words
        first = {"name": words("lead-name"), "email": words.email("email")}
        deal = await self._captures({"party": first, "source": "web-form", "message": words("lead-message")})
        (await crm.post(f"/api/leads/{deal}/qualify", {"score": 80}, role="sales")).expect(200)
        offer = {"title": words("title"), "value": {"amount": "10.00", "currency": "EUR"}}
        converted = (await crm.post(f"/api/leads/{deal}/convert", offer, role="sales")).expect(200)
        shown = (await crm.get(f"/api/leads/{deal}", after=converted.position)).expect(200)
        self.opportunity_id = shown.body["opportunity_id"]
        loss = {"reason": "price", "note": words("loss-note")}
        (await crm.post(f"/api/opportunities/{self.opportunity_id}/lose", loss, role="sales")).expect(200)
        again = {"party": {"phone": words.phone()}, "source": "fair", "message": words("second-message")}
        rejected = await self._captures(again)
        why = {"reason": "no_budget", "note": words("disqualification-note")}
        (await crm.post(f"/api/leads/{rejected}/disqualify", why, role="sales")).expect(200)

    async def _captures(self, lead: Data) -> str:
        captured = (await self._crm.post("/api/leads", lead, role="sales")).expect(201)
        (await self._crm.get(f"/api/leads/{captured.id}", after=captured.position)).expect(200)
        self.lead_ids.append(captured.id)
        return captured.id

    # -- service

    async def _asks_for_help(self) -> None:
        crm, words = self._crm, self.words
        ticket = {
            "party": {"cookie": words("cookie"), "name": words("ticket-name")},
            "channel": "chat",
            "subject": words("ticket-subject"),
            "body": words("ticket-body"),
        }
        opened = (await crm.post("/api/tickets", ticket, role="service")).expect(201)
        self.ticket_id = opened.id
        for path, body in (
            ("reply", {"author": "customer", "body": words("customers-reply")}),
            ("reply", {"author": "agent", "body": words("agents-reply")}),
            ("resolve", {"note": words("resolution")}),
            ("reopen", {"note": words("reopening")}),
        ):
            (await crm.post(f"/api/tickets/{opened.id}/{path}", body, role="service")).expect(200)
        await crm.customer(after=opened.position, cookie=words("cookie"))

    # -- adapters

    async def _is_in_touch(self) -> None:
        words = self.words
        mail = self._mail(
            {"email": words.email("email"), "name": self._clear("http-name")},
            subject=self._clear("http-subject"),
            body=self._clear("http-body"),
            attributes={"device": self._clear("http-attribute")},
        )
        batch = {"source": SOURCE, "interactions": [mail]}
        taken = (await self._crm.post("/api/interactions", batch, role="adapter")).expect(202)
        chat = self._mail(
            {"handle": words("handle"), "cookie": self._clear("another-cookie")},
            channel="chat",
            subject=self._clear("kafka-subject"),
            body=self._clear("kafka-body"),
            attributes={"place": self._clear("kafka-attribute")},
        )
        call = self._mail(
            {"phone": words.phone()},
            channel="call",
            subject=self._clear("binary-subject"),
            body=self._clear("binary-body"),
        )
        person = self._person(
            given_name=self._clear("described-given"),
            family_name=self._clear("described-family"),
            addresses=[{"lines": [self._clear("described-line")], "city": self._clear("described-city")}],
        )
        await self._write(InteractionRecorded, chat)
        await self._write(InteractionRecorded, call, structured=False)
        await self._write(PersonDescribed, person)
        logged = [f"{_identity(InteractionRecorded, each)}@1" for each in (chat, call)]
        await self._crm.customer(after=" ".join([taken.position, *logged]), email=words.email("email"))

    async def is_parked(self, stack: Stack) -> None:
        """Three more records, which contacts cannot take in; one of them is then given up."""
        words = self.words
        party = {"email": words.email("email")}
        parked = self._mail(party, subject=self._clear("parked-subject"), body=self._clear("parked-body"))
        given_up = self._mail(party, body=self._clear("discarded-body"))
        person = self._person(addresses=[{"lines": [self._clear("parked-line")]}])
        streams = (self.contact_id, _identity(InteractionRecorded, parked), _identity(InteractionRecorded, given_up))
        async with _nothing_stored_in(stack, streams):
            keys = [
                await self._write(InteractionRecorded, parked),
                await self._write(PersonDescribed, person),
                await self._write(InteractionRecorded, given_up),
            ]
            await eventually(lambda: self._waits(keys), "contacts has parked what it could not take in")
        *waiting, discarded = keys
        self.parked = [f"{LOT}/{key}" for key in waiting]
        decision = {"reason": "not of use"}
        (await self._crm.post(f"/api/parked/{LOT}/{discarded}/discard", decision, role="admin")).expect(200)

    async def writes_to_every_partition(self) -> None:
        """Mails, straight to Kafka; nobody waits until they are taken in."""
        for partition in range(INTERACTIONS.partitions):
            mail = self._mail({"email": self.words.email("email")}, body=self._clear("later-body"))
            await self._write(InteractionRecorded, mail, partition=partition)

    async def _waits(self, keys: Iterable[str]) -> bool:
        shown = [await self._crm.get(f"/api/parked/{LOT}/{key}", role="admin") for key in keys]
        return all(each.status == 200 for each in shown)

    def _clear(self, label: str) -> str:
        word = self.words(label)
        self.in_the_clear.append(word)
        return word

    def _mail(self, party: Data, **said: Any) -> Data:
        return {
            "external_id": uuid4().hex,
            "occurred_at": AT,
            "channel": "email",
            "direction": "inbound",
            "party": party,
            **said,
        }

    def _person(self, **said: Any) -> Data:
        known_by = [_identifier("email", self.words.email("email"))]
        return {"external_id": uuid4().hex, "occurred_at": AT, "identifiers": known_by, **said}

    async def _write(
        self, kind: type[AdapterRecord], data: Data, *, structured: bool = True, partition: int | None = None
    ) -> str:
        """Straight to Kafka; returns the record's key."""
        key = f"planted/{data['external_id']}"
        attributes = {
            "specversion": "1.0",
            "id": str(uuid4()),
            "source": SOURCE,
            "type": kind.type_name(),
            "time": AT,
        }
        if structured:
            value, headers = orjson.dumps({**attributes, "data": data}), [("content-type", STRUCTURED.encode())]
        else:
            value = orjson.dumps(data)
            headers = [(f"ce_{name}", text.encode()) for name, text in attributes.items()]
        await self._adapter.send_and_wait(INTERACTIONS.name, value, key.encode(), partition, headers=headers)
        return key


def _identifier(kind: str, value: str) -> Data:
    return {"kind": kind, "value": value}


def _identity(kind: type[AdapterRecord], data: Data) -> str:
    return str(kind.model_validate(data).identity(SOURCE))


@asynccontextmanager
async def _nothing_stored_in(stack: Stack, streams: Iterable[str]) -> AsyncIterator[None]:
    """Meanwhile PostgreSQL refuses every event of these streams: what would write one cannot be applied."""
    ids = ", ".join(f"'{UUID(stream)}'" for stream in streams)
    uri = stack.addresses.postgres_uri("contacts")
    async with await psycopg.AsyncConnection.connect(uri, autocommit=True) as contacts:
        await contacts.execute(
            "CREATE OR REPLACE FUNCTION refuse_event() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'the test refuses it' USING ERRCODE = 'data_exception'; END $$"
        )
        await contacts.execute(
            "CREATE TRIGGER refused BEFORE INSERT ON store_events FOR EACH ROW"
            f" WHEN (NEW.originator_id IN ({ids})) EXECUTE FUNCTION refuse_event()".encode()
        )
        try:
            yield
        finally:
            await contacts.execute("DROP TRIGGER refused ON store_events")
