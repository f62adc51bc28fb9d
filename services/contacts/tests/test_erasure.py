"""An erasure, as the contact decides it: two persons, then every service, then the proof."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from itertools import product

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from crm_contacts.domain import Contact
from crm_contacts.erasure import SERVICES
from crm_contacts.policies import CollectAcknowledgements
from crm_events.contacts import (
    Acknowledgement,
    ContactErased,
    ContactRegistered,
    ErasureAcknowledged,
    ErasureCompleted,
    ErasureGround,
    ErasureRequested,
    ErasureWithdrawn,
)
from crm_events.erasures import ErasureStep, ErasureStepTaken
from crm_events.event import Event
from crm_events.parties import Profile
from crm_platform.errors import NotAllowed
from crm_platform.testing import SOME_STREAM, SOME_TIME, Desk, given, recorded

Told = tuple[str, ErasureStep]

ASKED_AT, AT = SOME_TIME + timedelta(days=1), SOME_TIME + timedelta(days=2)
REGISTERED = ContactRegistered(source="web", profile=Profile(name="Ann"), occurred_at=SOME_TIME)
REQUESTED = ErasureRequested(ground=ErasureGround.OBJECTED, requested_by="carl", occurred_at=ASKED_AT)
WITHDRAWN = ErasureWithdrawn(withdrawn_by="dora", occurred_at=AT)
ERASED = ContactErased(confirmed_by="dora", services=SERVICES, occurred_at=AT)
EVERYTHING: list[Told] = list(product(SERVICES, ErasureStep))
COMPLETED = [
    REGISTERED,
    REQUESTED,
    ERASED,
    *(ErasureAcknowledged(service=s, step=x, occurred_at=AT) for s, x in EVERYTHING),
]


def erase(by: str, ground: ErasureGround | None = None) -> Callable[[Contact], None]:
    return lambda contact: contact.erase(by, ground, AT)


def withdraw(contact: Contact) -> None:
    contact.withdraw_erasure("dora", AT)


def acknowledge(*told: Told) -> Callable[[Contact], None]:
    """A minute passes between one that is told and the next."""

    def decide(contact: Contact) -> None:
        for minute, (service, step) in enumerate(told):
            contact.acknowledge_erasure(service, step, AT + timedelta(minutes=minute))

    return decide


def test_the_first_person_asks_for_it_and_says_why() -> None:
    expected = ErasureRequested(ground=ErasureGround.UNLAWFUL, requested_by="carl", occurred_at=AT)
    given(Contact, REGISTERED).when(erase("carl", ErasureGround.UNLAWFUL)).then(expected)


def test_who_says_nothing_of_the_ground_was_asked_for_it() -> None:
    expected = ErasureRequested(ground=ErasureGround.ASKED, requested_by="carl", occurred_at=AT)
    given(Contact, REGISTERED).when(erase("carl")).then(expected)


def test_the_same_person_cannot_confirm_it() -> None:
    given(Contact, REGISTERED, REQUESTED).when(erase("carl")).refuses(NotAllowed, saying="second person")


def test_the_second_person_erases_and_names_who_has_to_acknowledge() -> None:
    contact = given(Contact, REGISTERED, REQUESTED).when(erase("dora")).then(ERASED)
    assert contact.is_erased
    assert contact.identifiers == ()


def test_the_second_person_confirms_the_ground_that_was_given_and_no_other() -> None:
    given(Contact, REGISTERED, REQUESTED).when(erase("dora", ErasureGround.OBJECTED)).then(ERASED)
    other = given(Contact, REGISTERED, REQUESTED).when(erase("dora", ErasureGround.UNLAWFUL))
    other.refuses(NotAllowed, saying="objected")


@pytest.mark.parametrize("by", ["carl", "dora", "eve"])
@pytest.mark.parametrize("acknowledged", [[], COMPLETED[3:]], ids=["erasing", "completed"])
def test_who_is_erased_is_not_erased_again(by: str, acknowledged: list[Event]) -> None:
    happened = given(Contact, REGISTERED, REQUESTED, ERASED, *acknowledged)
    happened.when(erase(by)).refuses(NotAllowed, saying="erased already")


@pytest.mark.parametrize("by", ["carl", "dora"])
def test_a_request_is_withdrawn_by_whoever_may_ask_for_one(by: str) -> None:
    expected = ErasureWithdrawn(withdrawn_by=by, occurred_at=AT)
    given(Contact, REGISTERED, REQUESTED).when(lambda contact: contact.withdraw_erasure(by, AT)).then(expected)


@pytest.mark.parametrize("before", [[], [REQUESTED, WITHDRAWN]], ids=["never asked", "withdrawn"])
def test_nothing_is_withdrawn_that_nobody_asks_for(before: list[Event]) -> None:
    given(Contact, REGISTERED, *before).when(withdraw).refuses(NotAllowed, saying="No request to erase")


def test_an_erasure_cannot_be_taken_back() -> None:
    given(Contact, REGISTERED, REQUESTED, ERASED).when(withdraw).refuses(NotAllowed, saying="cannot be taken back")


@pytest.mark.parametrize("by", ["carl", "dora"])
def test_a_request_after_a_withdrawal_starts_anew(by: str) -> None:
    expected = ErasureRequested(ground=ErasureGround.ASKED, requested_by=by, occurred_at=AT)
    contact = given(Contact, REGISTERED, REQUESTED, WITHDRAWN).when(erase(by)).then(expected)
    assert not contact.is_erased


def test_whose_request_was_withdrawn_may_confirm_the_next_ones() -> None:
    again = ErasureRequested(ground=ErasureGround.ASKED, requested_by="dora", occurred_at=AT)
    asked = given(Contact, REGISTERED, REQUESTED, WITHDRAWN, again)
    asked.when(erase("carl")).then(ERASED.model_copy(update={"confirmed_by": "carl"}))


@pytest.mark.parametrize("before", [[], [REQUESTED], [REQUESTED, WITHDRAWN]], ids=["no request", "asked", "withdrawn"])
def test_no_service_acknowledges_what_is_not_erased(before: list[Event]) -> None:
    given(Contact, REGISTERED, *before).when(acknowledge(*EVERYTHING)).then()


@for_all(st.lists(st.sampled_from([*EVERYTHING, ("loyalty", ErasureStep.DESTROY), ("", ErasureStep.FORGET)])))
def test_an_acknowledgement_counts_once_and_only_of_a_service_that_has_to_give_it(said: list[Told]) -> None:
    given(Contact, REGISTERED, REQUESTED, ERASED).when(acknowledge(*said)).then(*expected_of(said))


@for_all(st.permutations(EVERYTHING), st.data())
def test_the_proof_comes_once_with_the_last_acknowledgement_in_whatever_order_they_come(
    order: list[Told], data: st.DataObject
) -> None:
    said = list(order)
    for repeat in data.draw(st.lists(st.sampled_from(EVERYTHING), max_size=12)):
        said.insert(data.draw(st.integers(0, len(said))), repeat)
    expected = expected_of(said)
    assert [type(event) for event in expected].count(ErasureCompleted) == 1
    given(Contact, REGISTERED, REQUESTED, ERASED).when(acknowledge(*said)).then(*expected)


def test_the_proof_names_who_decided_and_who_acknowledged_and_nothing_of_the_person() -> None:
    *_, proof = (
        given(Contact, REGISTERED, REQUESTED, ERASED)
        .when(acknowledge(*EVERYTHING))
        .then(*expected_of(EVERYTHING))
        .pending
    )
    assert isinstance(proof, ErasureCompleted)
    assert (proof.ground, proof.requested_by, proof.requested_at) == (ErasureGround.OBJECTED, "carl", ASKED_AT)
    assert (proof.confirmed_by, proof.erased_at) == ("dora", AT)
    assert proof.personal is None
    assert "Ann" not in proof.model_dump_json()


def test_only_the_services_named_when_it_was_confirmed_are_waited_for() -> None:
    earlier = ERASED.model_copy(update={"services": ("contacts",)})
    said: list[Told] = [
        ("contacts", ErasureStep.DESTROY),
        ("sales", ErasureStep.DESTROY),
        ("contacts", ErasureStep.FORGET),
    ]
    contact = (
        given(Contact, REGISTERED, REQUESTED, earlier)
        .when(acknowledge(*said))
        .then(*expected_of(said, services=("contacts",)))
    )
    assert isinstance(contact.pending[-1], ErasureCompleted)


def test_what_services_say_on_the_topic_is_collected() -> None:
    desk, policy = Desk(others={SOME_STREAM: [REGISTERED, REQUESTED, ERASED]}), CollectAcknowledgements()
    for service, step in (*EVERYTHING, *EVERYTHING):
        taken = ErasureStepTaken(contact_id=SOME_STREAM, service=service, step=step, occurred_at=AT)
        work = desk.new_work()
        policy.react(recorded(taken), work)
        work.commit()
    kinds = [type(event.data) for event in desk.staging.staged]
    assert kinds == [ErasureAcknowledged] * len(EVERYTHING) + [ErasureCompleted]
    assert {event.subject for event in desk.staging.staged} == {SOME_STREAM}


def expected_of(said: Iterable[Told], services: Iterable[str] = SERVICES) -> list[Event]:
    """What is recorded: each pair the first time that it is told, and the proof when none is missing any more."""
    missing, told = set(product(services, ErasureStep)), list[ErasureAcknowledged]()
    for minute, (service, step) in enumerate(said):
        if (service, step) in missing:
            missing.remove((service, step))
            at = AT + timedelta(minutes=minute)
            told.append(ErasureAcknowledged(service=service, step=step, occurred_at=at))
    return [*told, *([] if missing else [_proof(told)])]


def _proof(told: list[ErasureAcknowledged]) -> ErasureCompleted:
    return ErasureCompleted(
        ground=REQUESTED.ground,
        requested_by=REQUESTED.requested_by,
        requested_at=REQUESTED.occurred_at,
        confirmed_by=ERASED.confirmed_by,
        erased_at=ERASED.occurred_at,
        acknowledgements=tuple(Acknowledgement(service=a.service, step=a.step, at=a.occurred_at) for a in told),
        occurred_at=told[-1].occurred_at,
    )
