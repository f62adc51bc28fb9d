"""Whom a lead or ticket is about, as contacts answered."""

from datetime import datetime

from crm_events.contacts import PartyResolved, PartyUnknown
from crm_events.envelope import Recorded
from crm_platform.projection import Document, Index, Projection, fold


class PartyLink(Document, frozen=True, kw_only=True):
    """Contacts' answer for one lead or ticket: its contact, or why there is none. `cause` is "lead" or "ticket"."""

    collection = "party_links"
    indexes = (Index("contact_id", "-answered_at", "-_id"), Index("cause_id"))

    cause: str
    cause_id: str
    contact_id: str | None = None
    unknown_reason: str | None = None
    answered_at: datetime


class PartyFolds(Projection):
    @fold(PartyResolved, PartyLink)
    def party_resolved(self, _: PartyLink | None, event: Recorded[PartyResolved]) -> PartyLink:
        return PartyLink(
            id=str(event.subject),
            version=event.sequence,
            cause=event.data.cause.value,
            cause_id=str(event.data.cause_id),
            contact_id=str(event.data.contact_id),
            answered_at=event.data.occurred_at,
        )

    @fold(PartyUnknown, PartyLink)
    def party_unknown(self, _: PartyLink | None, event: Recorded[PartyUnknown]) -> PartyLink:
        return PartyLink(
            id=str(event.subject),
            version=event.sequence,
            cause=event.data.cause.value,
            cause_id=str(event.data.cause_id),
            unknown_reason=event.data.reason.value,
            answered_at=event.data.occurred_at,
        )
