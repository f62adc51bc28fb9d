"""Facts of the contacts service, which owns identity."""

from enum import StrEnum
from typing import ClassVar
from uuid import UUID, uuid5

from crm_events.adapter import Attribute, Channel, Direction
from crm_events.event import Event, Personal, Value
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


def party_stream(cause_id: UUID) -> UUID:
    """The id of the stream in which contacts answers for a lead or ticket."""
    return uuid5(_PARTY_NAMESPACE, str(cause_id))
