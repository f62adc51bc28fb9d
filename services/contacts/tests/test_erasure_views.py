"""What contacts shows of an erasure: the contact's row, the erasure's own, and when it is due."""

from datetime import UTC, datetime, timedelta

import pytest

from crm_contacts import erasure_queries
from crm_contacts.erasure import SERVICES
from crm_contacts.erasure_queries import ErasureState, ErasureView
from crm_contacts.projections import ContactRow, Contacts, ErasureRow
from crm_events.contacts import (
    ContactErased,
    ContactRegistered,
    ErasureAcknowledged,
    ErasureCompleted,
    ErasureGround,
    ErasureRequested,
    ErasureWithdrawn,
)
from crm_events.envelope import event_id
from crm_events.erasures import ErasureStep
from crm_events.event import Event, Sealed
from crm_events.parties import IdentifierIndex, IdentifierKind
from crm_platform.sealing import SealedBlock
from crm_platform.testing import SOME_STREAM, SOME_TIME, fold_all, recorded, story_id

PROFILE = Sealed(event=event_id(SOME_STREAM, 1), subject=SOME_STREAM, key=story_id("Ann's key"), box="c2VhbGVk")
EMAIL = IdentifierIndex(kind=IdentifierKind.EMAIL, index=story_id("blind index of her e-mail address"))


def day(count: int) -> datetime:
    return SOME_TIME + timedelta(days=count)


def acknowledged(*services: str, step: ErasureStep) -> list[Event]:
    return [ErasureAcknowledged(service=service, step=step, occurred_at=day(4)) for service in services]


REGISTERED = ContactRegistered(source="web", identifiers=(EMAIL,), profile=PROFILE, occurred_at=SOME_TIME)
REQUESTED = ErasureRequested(ground=ErasureGround.OBJECTED, requested_by="carl", occurred_at=day(1))
WITHDRAWN = ErasureWithdrawn(withdrawn_by="dora", occurred_at=day(2))
ERASED = ContactErased(confirmed_by="dora", services=SERVICES, occurred_at=day(3))
DESTROYED = acknowledged(*SERVICES, step=ErasureStep.DESTROY)
FORGOTTEN = acknowledged(*SERVICES, step=ErasureStep.FORGET)
COMPLETED = ErasureCompleted(
    ground=REQUESTED.ground,
    requested_by=REQUESTED.requested_by,
    requested_at=REQUESTED.occurred_at,
    confirmed_by=ERASED.confirmed_by,
    erased_at=ERASED.occurred_at,
    acknowledgements=(),
    occurred_at=day(5),
)


def rows_after(*events: Event) -> tuple[ContactRow, ErasureRow | None]:
    """A day passes between what is recorded."""
    happened = [recorded(event, sequence=n, time=day(10 + n)) for n, event in enumerate((REGISTERED, *events), 1)]
    documents = fold_all(Contacts(), happened)
    contact, erasure = (documents.get((kind, str(SOME_STREAM))) for kind in (ContactRow, ErasureRow))
    assert isinstance(contact, ContactRow)
    assert erasure is None or isinstance(erasure, ErasureRow)
    return contact, erasure


def view_after(*events: Event) -> ErasureView:
    _, erasure = rows_after(*events)
    assert erasure is not None
    return erasure_queries._view(erasure)


def test_a_contact_whose_erasure_nobody_asked_for_has_none() -> None:
    contact, erasure = rows_after()
    assert erasure is None
    assert contact.erased_at is None


@pytest.mark.parametrize("events", [[REQUESTED], [REQUESTED, WITHDRAWN], [REQUESTED, WITHDRAWN, REQUESTED]])
def test_a_contact_is_shown_as_ever_while_its_erasure_is_not_confirmed(events: list[Event]) -> None:
    contact, _ = rows_after(*events)
    assert contact.version == 1 + len(events), "the version that a change has to name"
    assert (contact.erased_at, contact.identifiers) == (None, [str(EMAIL.index)])
    assert contact.updated_at == day(11)


def test_an_erased_contact_keeps_its_row_without_identifiers() -> None:
    contact, _ = rows_after(REQUESTED, ERASED)
    assert (contact.version, contact.erased_at, contact.identifiers) == (3, day(3), [])
    assert (contact.source, contact.registered_at, contact.updated_at) == ("web", day(11), day(13))
    assert contact.profile == SealedBlock.of(PROFILE), "its key is gone, so nothing opens it"


def test_acknowledgements_change_only_the_version_of_the_contact() -> None:
    erased, _ = rows_after(REQUESTED, ERASED)
    completed, _ = rows_after(REQUESTED, ERASED, *DESTROYED, *FORGOTTEN, COMPLETED)
    assert completed.version == 4 + len(DESTROYED) + len(FORGOTTEN)
    assert (completed.erased_at, completed.identifiers) == (erased.erased_at, [])
    assert completed.updated_at == erased.updated_at


def test_a_request_waits_for_the_second_person() -> None:
    view = view_after(REQUESTED)
    assert view.state is ErasureState.REQUESTED
    assert (view.contact_id, view.ground) == (SOME_STREAM, "objected")
    assert (view.requested_by, view.requested_at) == ("carl", day(1))
    assert (view.confirmed_by, view.erased_at, view.withdrawn_at, view.completed_at) == (None, None, None, None)
    assert (view.waits_for, view.acknowledgements) == ([], [])


def test_a_withdrawn_request_stays_to_be_seen() -> None:
    view = view_after(REQUESTED, WITHDRAWN)
    assert (view.state, view.withdrawn_at, view.requested_by) == (ErasureState.WITHDRAWN, day(2), "carl")


def test_a_request_after_a_withdrawal_takes_its_place() -> None:
    again = ErasureRequested(ground=ErasureGround.ASKED, requested_by="dora", occurred_at=day(3))
    view = view_after(REQUESTED, WITHDRAWN, again)
    assert (view.state, view.withdrawn_at) == (ErasureState.REQUESTED, None)
    assert (view.ground, view.requested_by, view.requested_at) == ("asked", "dora", day(3))


def test_a_confirmed_erasure_waits_for_every_service_to_destroy_its_keys() -> None:
    view = view_after(REQUESTED, ERASED)
    assert (view.state, view.confirmed_by, view.erased_at) == (ErasureState.ERASING, "dora", day(3))
    assert view.waits_for == list(SERVICES)
    assert ordered_after(REQUESTED, ERASED) == "destroy"


def test_the_second_step_is_ordered_once_the_first_is_taken_everywhere() -> None:
    *most, last = DESTROYED
    assert ordered_after(REQUESTED, ERASED, *most) == "destroy"
    assert view_after(REQUESTED, ERASED, *most).waits_for == [SERVICES[-1]]
    assert ordered_after(REQUESTED, ERASED, *most, last) == "forget"
    assert view_after(REQUESTED, ERASED, *most, last).waits_for == list(SERVICES)


def test_who_took_the_second_step_early_is_not_waited_for_again() -> None:
    early, *others = FORGOTTEN
    assert ordered_after(REQUESTED, ERASED, early) == "destroy"
    assert view_after(REQUESTED, ERASED, early).waits_for == list(SERVICES)
    assert view_after(REQUESTED, ERASED, early, *DESTROYED).waits_for == list(SERVICES[1:])
    assert view_after(REQUESTED, ERASED, early, *DESTROYED, *others[:-1]).waits_for == [SERVICES[-1]]


def test_a_completed_erasure_is_the_proof_and_nothing_more_is_ordered() -> None:
    everything = (REQUESTED, ERASED, *DESTROYED, *FORGOTTEN, COMPLETED)
    view = view_after(*everything)
    assert (view.state, view.completed_at, view.waits_for) == (ErasureState.COMPLETED, day(5), [])
    assert [(each.service, each.step, each.at) for each in view.acknowledgements] == [
        (service, step, day(4)) for step in ("destroy", "forget") for service in SERVICES
    ]
    assert ordered_after(*everything) is None


@pytest.mark.parametrize(
    ("asked", "due"),
    [
        ("2026-03-02", "2026-04-02"),
        ("2026-01-31", "2026-02-28"),
        ("2028-01-31", "2028-02-29"),
        ("2026-02-28", "2026-03-28"),
        ("2026-03-31", "2026-04-30"),
        ("2026-12-15", "2027-01-15"),
        ("2026-12-31", "2027-01-31"),
    ],
)
def test_an_erasure_is_due_a_month_after_it_was_asked_for(asked: str, due: str) -> None:
    at = datetime.fromisoformat(f"{asked}T17:45:30.125").replace(tzinfo=UTC)
    view = view_after(REQUESTED.model_copy(update={"occurred_at": at}))
    assert view.due_at == datetime.fromisoformat(f"{due}T17:45:30.125").replace(tzinfo=UTC)


def ordered_after(*events: Event) -> str | None:
    _, erasure = rows_after(*events)
    assert erasure is not None
    return erasure.ordered
