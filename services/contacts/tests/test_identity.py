"""Who is who: rules of identity, over what has happened to identifiers and contacts."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from crm_contacts.application import ContactsApplication
from crm_contacts.commands import RegisterContact, UpdateContact
from crm_contacts.domain import IdentifierClaimed, IdentifierReleased
from crm_contacts.identity import Identity, NoSuchContact
from crm_contacts.policies import IdentifyParties
from crm_events.adapter import Channel, Direction, InteractionRecorded, PersonDescribed
from crm_events.contacts import (
    Cause,
    ContactRegistered,
    ContactUpdated,
    InteractionLogged,
    PartyResolved,
    PartyUnknown,
    UnknownReason,
    party_stream,
)
from crm_events.envelope import Recorded
from crm_events.event import Event, Sealed
from crm_events.parties import MAX_IDENTIFIERS, Identifier, IdentifierKind, Party, Profile
from crm_events.sales import Inquiry, LeadCaptured
from crm_platform.errors import AlreadyTaken, NotYetHappened
from crm_platform.identifiers import BlindIndexer
from crm_platform.testing import SOME_STREAM, SOME_TIME, Desk, recorded, story_id

E = TypeVar("E", bound=Event)

INDEXER = BlindIndexer(bytes(32))
IDENTITY = Identity(INDEXER)
POLICY = IdentifyParties(IDENTITY)
APPLICATION = ContactsApplication(IDENTITY)
ANN = Party(email="Ann@Example.org", name="Ann")


def interaction(external_id: str, party: Party) -> Recorded[InteractionRecorded]:
    data = InteractionRecorded(
        external_id=external_id, channel=Channel.WEB, direction=Direction.INBOUND, occurred_at=SOME_TIME, party=party
    )
    return recorded(data, subject=data.identity("/test"), sequence=0)


def lead(name: str, party: Party) -> Recorded[LeadCaptured]:
    return recorded(
        LeadCaptured(source="web", inquiry=Inquiry(party=party), occurred_at=SOME_TIME), subject=story_id(name)
    )


def react(desk: Desk, *events: Recorded[Event]) -> list[tuple[UUID, Event]]:
    """The policy's reactions to these events, as one batch."""
    for event in events:
        work = desk.new_work()
        POLICY.react(event, work)
        work.commit()
    return [(e.subject, e.data) for e in desk.staging.staged]


def of(kind: type[E], staged: Sequence[tuple[UUID, Event]]) -> list[E]:
    return [event for _, event in staged if isinstance(event, kind)]


def test_an_unknown_party_becomes_a_contact_and_its_identifier_is_claimed() -> None:
    staged = react(Desk(), interaction("1", ANN))
    (registered,), (claimed,), (logged,) = (
        of(ContactRegistered, staged),
        of(IdentifierClaimed, staged),
        of(InteractionLogged, staged),
    )
    assert isinstance(registered.profile, Profile)
    assert registered.profile.identifiers == (Identifier(kind=IdentifierKind.EMAIL, value="ann@example.org"),)
    assert claimed.contact_id == logged.contact_id


def test_a_thousand_of_one_address_in_a_batch_are_one_contact() -> None:
    staged = react(Desk(), *(interaction(str(n), ANN) for n in range(1_000)))
    assert len(of(ContactRegistered, staged)) == 1
    assert len({logged.contact_id for logged in of(InteractionLogged, staged)}) == 1


def test_a_repeated_interaction_is_logged_once() -> None:
    staged = react(Desk(), interaction("1", ANN), interaction("1", ANN))
    assert len(of(InteractionLogged, staged)) == 1


def test_identifiers_used_together_with_a_known_one_become_the_contacts() -> None:
    both = Party(email="ann@example.org", phone="+49 30 901820")
    staged = react(Desk(), interaction("1", ANN), interaction("2", both), interaction("3", Party(phone="+4930901820")))
    assert len(of(ContactRegistered, staged)) == 1
    (updated,) = of(ContactUpdated, staged)
    assert updated.changed == ("identifiers",)
    assert len({logged.contact_id for logged in of(InteractionLogged, staged)}) == 1


def test_the_strongest_identifier_decides_and_takes_nothing_from_others() -> None:
    mixed = Party(email="ann@example.org", phone="+4930901820")
    staged = react(Desk(), interaction("1", Party(phone="+4930901820")), interaction("2", ANN), interaction("3", mixed))
    phone_owner, ann, decided = (logged.contact_id for logged in of(InteractionLogged, staged))
    assert phone_owner != ann
    assert decided == ann
    assert not of(ContactUpdated, staged)


def test_parties_with_only_a_name_are_never_matched_by_it() -> None:
    staged = react(Desk(), interaction("1", Party(name="Ann")), interaction("2", Party(name="Ann")))
    assert len(of(ContactRegistered, staged)) == 2


def test_an_interaction_that_names_an_unknown_contact_is_refused() -> None:
    with pytest.raises(NoSuchContact):
        react(Desk(), interaction("1", Party(contact_id=story_id("nobody"))))


def test_an_unknown_contact_id_beside_an_identifier_is_passed_over() -> None:
    staged = react(Desk(), interaction("1", ANN), interaction("2", Party(contact_id=story_id("gone"), email=ANN.email)))
    assert len({logged.contact_id for logged in of(InteractionLogged, staged)}) == 1


def test_an_interaction_that_has_not_happened_yet_is_refused() -> None:
    tomorrow = interaction("1", ANN)
    ahead = tomorrow.data.model_copy(update={"occurred_at": SOME_TIME + timedelta(days=1)})
    with pytest.raises(NotYetHappened):
        react(Desk(), recorded(ahead, subject=tomorrow.subject, sequence=0))


def test_a_contact_keeps_a_bounded_number_of_identifiers() -> None:
    visits = [interaction(str(n), Party(email="ann@example.org", cookie=f"cookie {n}")) for n in range(100)]
    staged = react(Desk(), *visits)
    last = of(ContactUpdated, staged)[-1]
    assert len(last.identifiers) == MAX_IDENTIFIERS
    assert len(of(ContactRegistered, staged)) == 1


def test_every_lead_has_its_own_answer_also_when_the_contact_was_long_known() -> None:
    staged = react(Desk(), interaction("1", ANN), lead("first", ANN), lead("second", ANN), lead("second", ANN))
    answers = {stream: event for stream, event in staged if isinstance(event, PartyResolved)}
    assert set(answers) == {party_stream(story_id("first")), party_stream(story_id("second"))}
    assert {(a.cause, a.contact_id) for a in answers.values()} == {
        (Cause.LEAD, of(InteractionLogged, staged)[0].contact_id)
    }


def test_a_lead_of_an_unknown_contact_is_answered_too() -> None:
    staged = react(Desk(), lead("lost", Party(contact_id=story_id("nobody"))))
    assert [a.reason for a in of(PartyUnknown, staged)] == [UnknownReason.NO_SUCH_CONTACT]
    assert not of(ContactRegistered, staged)


def test_a_lead_that_identifies_nobody_is_answered_too() -> None:
    staged = react(Desk(), lead("garbled", Party(email="not an address")))
    assert [a.reason for a in of(PartyUnknown, staged)] == [UnknownReason.NOT_IDENTIFIED]


def test_a_lead_whose_person_is_erased_by_now_is_answered_too() -> None:
    sealed = Sealed(event=SOME_STREAM, subject=SOME_STREAM, key=SOME_STREAM, box="")
    event = recorded(LeadCaptured(source="web", inquiry=sealed, occurred_at=SOME_TIME))
    assert [a.reason for a in of(PartyUnknown, react(Desk(), event))] == [UnknownReason.ERASED]


def test_a_described_person_is_a_contact_once_however_often_it_is_described() -> None:
    person = PersonDescribed(external_id="p1", given_name="Ann", occurred_at=SOME_TIME)
    event = recorded(person, subject=person.identity("/test"), sequence=0)
    assert len(of(ContactRegistered, react(Desk(), event, event))) == 1


def test_registering_a_taken_address_is_refused_and_leaves_nothing() -> None:
    desk = Desk(others={INDEXER.index(email("ann@example.org")): [claimed_by(story_id("Ann"))]})
    command = RegisterContact(given_name="Bo", identifiers=(email("ANN@example.org"),))
    with pytest.raises(AlreadyTaken, match=str(story_id("Ann"))):
        APPLICATION.register(command, desk.work)


def test_an_update_releases_the_identifiers_that_it_no_longer_names() -> None:
    old, new = email("old@example.org"), email("new@example.org")
    index = INDEXER.index_all((old,))
    registered = ContactRegistered(
        source="staff", identifiers=index, profile=Profile(name="Ann", identifiers=(old,)), occurred_at=SOME_TIME
    )
    desk = Desk(registered, others={index[0].index: [claimed_by(SOME_STREAM)]})
    APPLICATION.update(UpdateContact(identifiers=(new,)), desk.work)
    staged = desk.staged()
    assert (INDEXER.index(new), IdentifierClaimed) in [(stream, type(event)) for stream, event in staged]
    assert (index[0].index, IdentifierReleased) in [(stream, type(event)) for stream, event in staged]
    (updated,) = of(ContactUpdated, staged)
    assert (updated.changed, updated.identifiers) == (("identifiers",), INDEXER.index_all((new,)))


IDENTIFIERS = st.fixed_dictionaries(
    {},
    optional={
        "email": st.sampled_from(["a@example.org", "B@example.org", "b@example.org"]),
        "phone": st.sampled_from(["+4930901820", "+49 30 901821"]),
        "handle": st.sampled_from(["@a", "@A", "@b"]),
    },
).filter(bool)


@for_all(st.lists(IDENTIFIERS, max_size=12))
def test_whatever_arrives_every_identifier_belongs_to_one_contact_and_every_interaction_has_one(
    parties: list[dict[str, str]],
) -> None:
    events = [interaction(str(n), Party(**party)) for n, party in enumerate(parties)]
    staged = react(Desk(), *events)
    contacts = {stream for stream, event in staged if isinstance(event, ContactRegistered)}
    owners: dict[UUID, UUID] = {}
    for stream, event in staged:
        if isinstance(event, IdentifierClaimed):
            assert owners.setdefault(stream, event.contact_id) == event.contact_id, "an identifier changed hands"
    assert set(owners.values()) <= contacts
    assert [logged.contact_id in contacts for logged in of(InteractionLogged, staged)] == [True] * len(parties)


@for_all(st.lists(IDENTIFIERS, max_size=8), st.integers(0, 8))
def test_a_batch_may_be_cut_anywhere_and_leads_to_the_same_contacts(parties: list[dict[str, str]], cut: int) -> None:
    events = [interaction(str(n), Party(**party)) for n, party in enumerate(parties)]
    whole = react(Desk(), *events)
    first = react(Desk(), *events[:cut])
    happened: dict[UUID, list[Event]] = {}
    for stream, event in first:
        happened.setdefault(stream, []).append(event)
    assert first + react(Desk(others=happened), *events[cut:]) == whole


def email(address: str) -> Identifier:
    return Identifier(kind=IdentifierKind.EMAIL, value=address)


def claimed_by(contact: UUID) -> IdentifierClaimed:
    return IdentifierClaimed(contact_id=contact, occurred_at=SOME_TIME)


def test_contact_ids_follow_from_their_cause() -> None:
    first, again = (react(Desk(), interaction("1", ANN)) for _ in range(2))
    assert first == again
