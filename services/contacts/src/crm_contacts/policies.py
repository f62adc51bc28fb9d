"""What contacts does when others speak of a customer: it says who that is."""

from collections.abc import Iterable
from uuid import UUID

from crm_contacts.domain import Contact, Interaction, PartyAnswer
from crm_contacts.identity import Identity, Named, NoSuchContact, PersonErased, contact_id_for, reference
from crm_events.adapter import InteractionRecorded, PersonDescribed
from crm_events.contacts import Cause, UnknownReason, party_stream
from crm_events.envelope import Recorded
from crm_events.erasures import ErasureStepTaken, SubjectsErased
from crm_events.event import Event, Instant, Sealed
from crm_events.parties import Identifier, Party, Profile
from crm_events.sales import LeadCaptured
from crm_events.service import TicketOpened
from crm_events.topics import ERASURES, INTERACTIONS, SALES, SERVICE
from crm_platform.errors import Refusal
from crm_platform.identifiers import NotAnIdentifier
from crm_platform.policy import Policy, when
from crm_platform.work import UnitOfWork


class IdentifyParties(Policy):
    """Logs every interaction with its contact, and answers every lead and ticket with the contact it is about."""

    name = "contacts.identify-parties"
    topics = (INTERACTIONS, SALES, SERVICE)

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    def streams(self, event: Recorded[Event]) -> Iterable[UUID]:
        """The event's own stream here, the owners of the identifiers that it names, and the contact it may register."""
        try:
            named = self._named(event)
        except Refusal:
            return ()
        own = event.subject if isinstance(event.data, InteractionRecorded) else party_stream(event.subject)
        return (own, contact_id_for(event.id), *(i.index for i in named.indexes)) if named else (own,)

    def _named(self, event: Recorded[Event]) -> Named | None:
        match event.data:
            case InteractionRecorded(party=party):
                return self._identity.party(party, _interaction_reference(event))
            case PersonDescribed():
                return self._identity.name(_described(event.data, event.source))
            case LeadCaptured(inquiry=asked) if not isinstance(asked, Sealed):
                return self._identity.party(asked.party, _cause_reference(event))
            case TicketOpened(request=asked) if not isinstance(asked, Sealed):
                return self._identity.party(asked.party, _cause_reference(event))
        return None

    @when(InteractionRecorded)
    def log_interaction(self, event: Recorded[InteractionRecorded], work: UnitOfWork) -> None:
        """Raises NotYetHappened, NotAnIdentifier, NoSuchContact or PersonErased; then the record is set aside."""
        interaction = work.load(Interaction, event.subject)
        if interaction.exists:
            return
        work.moment(event.data.occurred_at)
        contact_id = self._contact(work, event, event.data.party, _interaction_reference(event), event.source)
        interaction.log(contact_id, event.source, event.data)
        work.save(interaction)

    @when(PersonDescribed)
    def take_description(self, event: Recorded[PersonDescribed], work: UnitOfWork) -> None:
        """A source's word about a person counts once: its own reference is the first identifier to be recognised."""
        named = self._identity.name(_described(event.data, event.source))
        self._identity.find_or_register(
            work,
            named,
            contact_id=None,
            new_id=contact_id_for(event.subject),
            source=event.source,
            happened=event.data.occurred_at,
        )

    @when(LeadCaptured)
    def answer_lead(self, event: Recorded[LeadCaptured], work: UnitOfWork) -> None:
        asked = event.data.inquiry
        self._answer(work, event, Cause.LEAD, None if isinstance(asked, Sealed) else asked.party)

    @when(TicketOpened)
    def answer_ticket(self, event: Recorded[TicketOpened], work: UnitOfWork) -> None:
        asked = event.data.request
        self._answer(work, event, Cause.TICKET, None if isinstance(asked, Sealed) else asked.party)

    def _answer(self, work: UnitOfWork, event: Recorded[Event], cause: Cause, party: Party | None) -> None:
        """`party` is None where the person's data is erased before the question was read."""
        answer = work.load(PartyAnswer, party_stream(event.subject))
        if answer.exists:
            return
        at: Instant = event.data.occurred_at
        try:
            if party is None:
                answer.give_up(cause, event.subject, UnknownReason.ERASED, at)
            else:
                contact = self._contact(work, event, party, _cause_reference(event), event.source)
                answer.resolve(cause, event.subject, contact, at)
        except PersonErased:
            answer.give_up(cause, event.subject, UnknownReason.ERASED, at)
        except NoSuchContact:
            answer.give_up(cause, event.subject, UnknownReason.NO_SUCH_CONTACT, at)
        except NotAnIdentifier:
            answer.give_up(cause, event.subject, UnknownReason.NOT_IDENTIFIED, at)
        work.save(answer)

    def _contact(
        self, work: UnitOfWork, event: Recorded[Event], party: Party, fallback: Identifier, source: str
    ) -> UUID:
        return self._identity.find_or_register(
            work,
            self._identity.party(party, fallback),
            contact_id=party.contact_id,
            new_id=contact_id_for(event.id),
            source=source,
            happened=event.data.occurred_at,
        )


class CollectAcknowledgements(Policy):
    """An erasure is complete once every service has said that it has taken every step.

    What contacts itself recorded of it on no topic is recorded again where a restored backup has forgotten it.
    """

    name = "contacts.collect-acknowledgements"
    topics = (ERASURES,)

    def streams(self, event: Recorded[Event]) -> Iterable[UUID]:
        return (event.subject,)

    @when(SubjectsErased)
    def erase_identifiers(self, event: Recorded[SubjectsErased], work: UnitOfWork) -> None:
        contact = work.load(Contact, event.data.contact_id)
        if contact.erased_at is not None:
            work.because_of(event.causation)
            Identity.erase(work, contact, contact.erased_at)

    @when(ErasureStepTaken)
    def acknowledge(self, event: Recorded[ErasureStepTaken], work: UnitOfWork) -> None:
        work.because_of(event.causation)
        contact = work.load(Contact, event.data.contact_id)
        contact.acknowledge_erasure(event.data.service, event.data.step, event.data.occurred_at)
        work.save(contact)


def _interaction_reference(event: Recorded[Event]) -> Identifier:
    return reference(event.source, "interaction", str(event.subject))


def _cause_reference(event: Recorded[Event]) -> Identifier:
    return reference(event.source, "party", str(event.subject))


def _described(person: PersonDescribed, source: str) -> Profile:
    known_by = reference(source, "person", person.external_id)
    return Profile(
        given_name=person.given_name,
        family_name=person.family_name,
        organisation=person.organisation,
        birth_date=person.birth_date,
        addresses=person.addresses,
        identifiers=(known_by, *person.identifiers),
    )
