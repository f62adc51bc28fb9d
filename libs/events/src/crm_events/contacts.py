"""Facts of the contacts service, which owns identity."""

from enum import StrEnum
from typing import ClassVar
from uuid import UUID, uuid5

from crm_events.adapter import Attribute, Channel, Direction
from crm_events.erasures import ErasureStep
from crm_events.event import Event, Instant, Personal, Value
from crm_events.parties import IdentifierIndex, OrderValue, Party, Profile

_PARTY_NAMESPACE = UUID("9b0cf6a8-3df1-5a8c-9f3c-54a8c7e0d1f2")


class ContactsEvent(Event):
    context: ClassVar[str] = "contacts"


class ContactRegistered(ContactsEvent):
    """A person became known; the first fact of every contact. `source` says who knew first."""

    source: str
    identifiers: tuple[IdentifierIndex, ...] = ()
    profile: Personal[Profile]


class ContactUpdated(ContactsEvent):
    """The whole profile after a change; `changed` names the members that differ from before."""

    identifiers: tuple[IdentifierIndex, ...] = ()
    changed: tuple[str, ...]
    profile: Personal[Profile]


class InteractionContent(Value):
    """What was said in an interaction, and by whom, as the adapter gave it."""

    external_id: str
    party: Party
    subject: str | None = None
    body: str | None = None
    attributes: dict[str, Attribute] = {}


class InteractionLogged(ContactsEvent):
    """An interaction with its contact. A stream of its own whose id follows from (source, external_id)."""

    contact_id: UUID
    source: str
    channel: Channel
    direction: Direction
    order: OrderValue | None = None
    campaign_id: UUID | None = None
    content: Personal[InteractionContent]

    def data_subject(self, stream: UUID) -> UUID:  # noqa: ARG002 - the base names the argument
        return self.contact_id


class Cause(StrEnum):
    """What asked who a party is."""

    LEAD = "lead"
    TICKET = "ticket"


class PartyResolved(ContactsEvent):
    """The contact that a lead or ticket is about: contacts' answer, in a stream of its own (`party_stream`)."""

    cause: Cause
    cause_id: UUID
    contact_id: UUID


class UnknownReason(StrEnum):
    NO_SUCH_CONTACT = "no_such_contact"
    NOT_IDENTIFIED = "not_identified"
    ERASED = "erased"


class PartyUnknown(ContactsEvent):
    """A lead or ticket named a contact that does not exist, what identifies nobody, or a person who is erased."""

    cause: Cause
    cause_id: UUID
    reason: UnknownReason


class ErasureGround(StrEnum):
    """Why a person's data is erased: Regulation (EU) 2016/679, Art. 17(1), or that the person asks for it."""

    ASKED = "asked"
    NO_LONGER_NEEDED = "no_longer_needed"
    CONSENT_WITHDRAWN = "consent_withdrawn"
    OBJECTED = "objected"
    UNLAWFUL = "unlawful"
    LEGAL_OBLIGATION = "legal_obligation"


class ErasureRequested(ContactsEvent):
    """Somebody wants the contact erased; it needs a second person. `requested_by` is a member of staff's user id."""

    ground: ErasureGround
    requested_by: str


class ErasureWithdrawn(ContactsEvent):
    """The request does not stand any more; nothing was erased."""

    withdrawn_by: str


class ContactErased(ContactsEvent):
    """The second person has confirmed: the key is destroyed, the identifiers belong to nobody.

    `services` are those that have to acknowledge.
    """

    confirmed_by: str
    services: tuple[str, ...]


class ErasureAcknowledged(ContactsEvent):
    """A service has taken a step of the erasure."""

    service: str
    step: ErasureStep


class Acknowledgement(Value):
    """Which service took which step, and when contacts was told."""

    service: str
    step: ErasureStep
    at: Instant


class ErasureCompleted(ContactsEvent):
    """Every service has acknowledged. It proves the erasure, and says nothing about the person.

    `requested_by` and `confirmed_by` are members of staff's user ids.
    """

    ground: ErasureGround
    requested_by: str
    requested_at: Instant
    confirmed_by: str
    erased_at: Instant
    acknowledgements: tuple[Acknowledgement, ...]


def party_stream(cause_id: UUID) -> UUID:
    """The id of the stream in which contacts answers for a lead or ticket."""
    return uuid5(_PARTY_NAMESPACE, str(cause_id))
