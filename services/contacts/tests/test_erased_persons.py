"""Who was erased stays erased: what happened before is not taken in again; who comes back is somebody new."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

import pytest

from crm_contacts.application import ContactsApplication
from crm_contacts.commands import EraseContact, RegisterContact
from crm_contacts.domain import IdentifierClaimed, IdentifierErased, IdentifierReleased
from crm_contacts.erasure import SERVICES
from crm_contacts.identity import Identity, PersonErased
from crm_contacts.policies import CollectAcknowledgements, IdentifyParties
from crm_events.adapter import Channel, Direction, InteractionRecorded, PersonDescribed
from crm_events.contacts import (
    ContactErased,
    ContactRegistered,
    ContactUpdated,
    ErasureGround,
    ErasureRequested,
    InteractionLogged,
    PartyResolved,
    PartyUnknown,
    UnknownReason,
)
from crm_events.envelope import Recorded
from crm_events.erasures import SubjectsErased
from crm_events.event import Event
from crm_events.parties import Identifier, IdentifierKind, Party, Profile
from crm_events.sales import Inquiry, LeadCaptured
from crm_events.service import Priority, TicketOpened, TicketRequest
from crm_platform.errors import NotAllowed
from crm_platform.identifiers import BlindIndexer
from crm_platform.testing import SOME_TIME, Desk, recorded, story_id

E = TypeVar("E", bound=Event)
Happened = dict[UUID, list[Event]]

INDEXER = BlindIndexer(bytes(32))
IDENTITY = Identity(INDEXER)
POLICY = IdentifyParties(IDENTITY)
APPLICATION = ContactsApplication(IDENTITY)
ANN, BOB = story_id("Ann"), story_id("Bob")
EMAIL = Identifier(kind=IdentifierKind.EMAIL, value="ann@example.org")
COOKIE = Identifier(kind=IdentifierKind.COOKIE, value="ann's browser")
PHONE = Identifier(kind=IdentifierKind.PHONE, value="+4930901820")
ERASED_AT = SOME_TIME - timedelta(days=10)
BEFORE, AFTER = ERASED_AT - timedelta(milliseconds=1), ERASED_AT + timedelta(milliseconds=1)

before_it = pytest.mark.parametrize("happened", [BEFORE, ERASED_AT], ids=["before", "at the moment"])


def known(contact: UUID, *identifiers: Identifier) -> Happened:
    """Somebody who is known by these."""
    profile = Profile(name="somebody", identifiers=identifiers)
    indexes = INDEXER.index_all(identifiers)
    at = ERASED_AT - timedelta(days=10)
    registered = ContactRegistered(source="web", profile=profile, identifiers=indexes, occurred_at=at)
    claimed = IdentifierClaimed(contact_id=contact, occurred_at=at)
    return {contact: [registered], **{index.index: [claimed] for index in indexes}}


def asked_to_erase(contact: UUID, *identifiers: Identifier) -> Happened:
    happened = known(contact, *identifiers)
    request = ErasureRequested(ground=ErasureGround.ASKED, requested_by="carl", occurred_at=ERASED_AT)
    return {**happened, contact: [*happened[contact], request]}


def erased(contact: UUID, *identifiers: Identifier) -> Happened:
    """Somebody who was known by these, until the erasure."""
    happened = asked_to_erase(contact, *identifiers)
    happened[contact].append(ContactErased(confirmed_by="dora", services=SERVICES, occurred_at=ERASED_AT))
    for index in INDEXER.index_all(identifiers):
        happened[index.index].append(IdentifierErased(occurred_at=ERASED_AT))
    return happened


def touch(party: Party, happened: datetime) -> Recorded[InteractionRecorded]:
    data = InteractionRecorded(
        external_id="1", channel=Channel.WEB, direction=Direction.INBOUND, occurred_at=happened, party=party
    )
    return recorded(data, subject=data.identity("/test"), sequence=0)


def asking(party: Party, happened: datetime) -> list[Recorded[Event]]:
    """A lead and a ticket of that party."""
    captured = LeadCaptured(source="web", inquiry=Inquiry(party=party), occurred_at=happened)
    opened = TicketOpened(
        channel=Channel.EMAIL,
        priority=Priority.NORMAL,
        request=TicketRequest(party=party, subject="It is broken"),
        occurred_at=happened,
    )
    return [recorded(captured, subject=story_id("lead")), recorded(opened, subject=story_id("ticket"))]


def react(desk: Desk, *events: Recorded[Event]) -> list[tuple[UUID, Event]]:
    """The policy's reactions to these events, as one batch."""
    for event in events:
        work = desk.new_work()
        POLICY.react(event, work)
        work.commit()
    return [(event.subject, event.data) for event in desk.staging.staged]


def of(kind: type[E], staged: list[tuple[UUID, Event]]) -> list[E]:
    return [event for _, event in staged if isinstance(event, kind)]


def test_the_confirmed_erasure_frees_the_identifiers_and_destroys_the_key() -> None:
    desk = Desk(others=asked_to_erase(ANN, EMAIL, COOKIE), target=ANN)
    APPLICATION.erase(EraseContact(), desk.work)
    staged = desk.staged()
    assert {stream for stream, event in staged if isinstance(event, IdentifierErased)} == {
        index.index for index in INDEXER.index_all((EMAIL, COOKIE))
    }
    assert [(event.confirmed_by, event.services) for event in of(ContactErased, staged)] == [("test", SERVICES)]
    assert desk.staging.destroyed == {ANN: len(staged)}


def test_a_request_alone_frees_and_destroys_nothing() -> None:
    desk = Desk(others=known(ANN, EMAIL), target=ANN)
    APPLICATION.erase(EraseContact(ground=ErasureGround.UNLAWFUL), desk.work)
    assert [(event.ground, event.requested_by) for event in of(ErasureRequested, desk.staged())] == [
        (ErasureGround.UNLAWFUL, "test")
    ]
    assert [type(event.data) for event in desk.staging.staged] == [ErasureRequested]
    assert not desk.staging.destroyed


def test_a_refused_erasure_destroys_nothing() -> None:
    desk = Desk(others=erased(ANN, EMAIL), target=ANN)
    with pytest.raises(NotAllowed):
        APPLICATION.erase(EraseContact(), desk.work)
    assert not desk.staged()
    assert not desk.staging.destroyed


@before_it
def test_what_an_erased_person_did_before_is_not_taken_in(happened: datetime) -> None:
    with pytest.raises(PersonErased):
        react(Desk(others=erased(ANN, EMAIL)), touch(Party(email=EMAIL.value, name="Ann"), happened))


@before_it
def test_how_an_erased_person_was_described_before_is_not_taken_in(happened: datetime) -> None:
    described = PersonDescribed(external_id="p1", given_name="Ann", identifiers=(EMAIL,), occurred_at=happened)
    with pytest.raises(PersonErased):
        react(Desk(others=erased(ANN, EMAIL)), recorded(described, subject=described.identity("/test"), sequence=0))


@before_it
def test_what_an_erased_person_asked_before_is_answered_so(happened: datetime) -> None:
    staged = react(Desk(others=erased(ANN, EMAIL)), *asking(Party(email=EMAIL.value), happened))
    assert [answer.reason for answer in of(PartyUnknown, staged)] == [UnknownReason.ERASED] * 2
    assert [type(event) for _, event in staged] == [PartyUnknown] * 2


def test_an_erased_person_that_comes_back_is_somebody_new() -> None:
    staged = react(
        Desk(others=erased(ANN, EMAIL)),
        touch(Party(email=EMAIL.value), AFTER),
        *asking(Party(email=EMAIL.value), AFTER),
    )
    (registered,) = [stream for stream, event in staged if isinstance(event, ContactRegistered)]
    assert registered != ANN
    assert [(stream, event.contact_id) for stream, event in staged if isinstance(event, IdentifierClaimed)] == [
        (INDEXER.index(EMAIL), registered)
    ]
    assert [logged.contact_id for logged in of(InteractionLogged, staged)] == [registered]
    assert [answer.contact_id for answer in of(PartyResolved, staged)] == [registered] * 2


def test_an_identifier_that_was_only_released_is_anybodys() -> None:
    happened = known(ANN, EMAIL)
    happened[INDEXER.index(EMAIL)].append(IdentifierReleased(occurred_at=ERASED_AT))
    staged = react(Desk(others=happened), touch(Party(email=EMAIL.value), BEFORE))
    assert len(of(ContactRegistered, staged)) == 1


def test_staff_may_register_an_erased_person_again() -> None:
    desk = Desk(others=erased(ANN, EMAIL))
    desk.work = desk.new_work(BOB)
    APPLICATION.register(RegisterContact(given_name="Ann", identifiers=(EMAIL,)), desk.work)
    staged = desk.staged()
    assert [event.contact_id for event in of(IdentifierClaimed, staged)] == [BOB]


@before_it
def test_what_also_names_somebody_else_is_not_put_down_to_them(happened: datetime) -> None:
    for party in (
        Party(email=EMAIL.value, phone=PHONE.value),
        Party(email=EMAIL.value, handle="@new"),
        Party(contact_id=BOB, email=EMAIL.value),
        Party(contact_id=ANN, phone=PHONE.value),
    ):
        desk = Desk(others={**erased(ANN, EMAIL), **known(BOB, PHONE)})
        with pytest.raises(PersonErased):
            react(desk, touch(party, happened))
        assert [answer.reason for answer in of(PartyUnknown, react(desk, *asking(party, happened)))] == [
            UnknownReason.ERASED
        ] * 2


def test_somebody_else_is_given_the_erased_identifier_for_a_later_fact() -> None:
    desk = Desk(others={**erased(ANN, EMAIL), **known(BOB, PHONE)})
    staged = react(desk, touch(Party(email=EMAIL.value, phone=PHONE.value), AFTER))
    assert [logged.contact_id for logged in of(InteractionLogged, staged)] == [BOB]
    assert (INDEXER.index(EMAIL), BOB) in [
        (stream, event.contact_id) for stream, event in staged if isinstance(event, IdentifierClaimed)
    ]


@pytest.mark.parametrize("happened", [BEFORE, AFTER], ids=["before", "after"])
def test_the_id_of_an_erased_contact_alone_names_nobody_any_more(happened: datetime) -> None:
    with pytest.raises(PersonErased):
        react(Desk(others=erased(ANN, EMAIL)), touch(Party(contact_id=ANN), happened))


@pytest.mark.parametrize("happened", [BEFORE, AFTER], ids=["before", "after"])
def test_who_asks_under_the_id_of_an_erased_contact_is_answered_so(happened: datetime) -> None:
    staged = react(Desk(others=erased(ANN, EMAIL)), *asking(Party(contact_id=ANN), happened))
    assert [answer.reason for answer in of(PartyUnknown, staged)] == [UnknownReason.ERASED] * 2


def test_beside_an_erased_contacts_id_a_living_identifier_decides_of_a_later_fact() -> None:
    desk = Desk(others={**erased(ANN, EMAIL), **known(BOB, PHONE)})
    staged = react(desk, touch(Party(contact_id=ANN, phone=PHONE.value), AFTER))
    assert [logged.contact_id for logged in of(InteractionLogged, staged)] == [BOB]
    assert [type(event) for _, event in staged] == [InteractionLogged]


@pytest.mark.parametrize("so_far", [known, asked_to_erase])
def test_a_contact_that_is_not_erased_yet_is_found_as_ever(so_far: Callable[..., Happened]) -> None:
    staged = react(Desk(others=so_far(ANN, EMAIL)), touch(Party(email=EMAIL.value), BEFORE))
    assert [logged.contact_id for logged in of(InteractionLogged, staged)] == [ANN]


@before_it
def test_whose_the_identifier_is_now_does_not_make_an_earlier_fact_theirs(happened: datetime) -> None:
    was_anns = erased(ANN, EMAIL)
    is_bobs = known(BOB, PHONE)
    was_anns[INDEXER.index(EMAIL)].append(IdentifierClaimed(contact_id=BOB, occurred_at=AFTER))
    desk = Desk(others={**was_anns, **is_bobs})
    with pytest.raises(PersonErased):
        react(desk, touch(Party(email=EMAIL.value), happened))
    staged = react(desk, touch(Party(email=EMAIL.value), AFTER))
    assert [logged.contact_id for logged in of(InteractionLogged, staged)] == [BOB]


@before_it
def test_an_earlier_fact_under_an_erased_contacts_id_registers_nobody(happened: datetime) -> None:
    with pytest.raises(PersonErased):
        react(Desk(others=erased(ANN, EMAIL)), touch(Party(contact_id=ANN, cookie=COOKIE.value), happened))
    staged = react(Desk(others=erased(ANN, EMAIL)), touch(Party(contact_id=ANN, cookie=COOKIE.value), AFTER))
    assert len(of(ContactRegistered, staged)) == 1


def test_an_identifier_that_the_person_had_before_is_erased_unless_it_is_somebody_elses_now() -> None:
    happened = asked_to_erase(ANN, EMAIL, COOKIE, PHONE)
    kept = Profile(name="somebody", identifiers=(EMAIL,))
    dropped = ContactUpdated(
        changed=("identifiers",), profile=kept, identifiers=INDEXER.index_all((EMAIL,)), occurred_at=BEFORE
    )
    happened[ANN].insert(1, dropped)
    for identifier in (COOKIE, PHONE):
        happened[INDEXER.index(identifier)].append(IdentifierReleased(occurred_at=BEFORE))
    happened[INDEXER.index(PHONE)].append(IdentifierClaimed(contact_id=BOB, occurred_at=BEFORE))
    desk = Desk(others=happened, target=ANN)
    APPLICATION.erase(EraseContact(), desk.work)
    assert {stream for stream, event in desk.staged() if isinstance(event, IdentifierErased)} == {
        INDEXER.index(EMAIL),
        INDEXER.index(COOKIE),
    }


def test_identifiers_that_are_erased_once_more_record_nothing() -> None:
    again = SubjectsErased(contact_id=ANN, subjects=(ANN,), occurred_at=AFTER)
    desk = Desk(others=erased(ANN, EMAIL, COOKIE))
    CollectAcknowledgements().react(recorded(again, subject=ANN), desk.work)
    assert desk.staged() == []


def test_identifiers_that_a_restored_backup_has_brought_back_are_erased_again() -> None:
    again = SubjectsErased(contact_id=ANN, subjects=(ANN,), occurred_at=AFTER)
    happened = erased(ANN, EMAIL)
    happened[INDEXER.index(EMAIL)].pop()
    desk = Desk(others=happened)
    CollectAcknowledgements().react(recorded(again, subject=ANN), desk.work)
    assert desk.staged() == [(INDEXER.index(EMAIL), IdentifierErased(occurred_at=ERASED_AT))]
