"""The contacts list and the list of erasures, as contacts shows them to its own users."""

from datetime import datetime
from typing import ClassVar

import msgspec

from crm_contacts.erasure import missing
from crm_events.contacts import (
    ContactErased,
    ContactRegistered,
    ContactUpdated,
    ErasureAcknowledged,
    ErasureCompleted,
    ErasureRequested,
    ErasureWithdrawn,
)
from crm_events.envelope import Recorded
from crm_events.erasures import ErasureStep
from crm_events.event import Event
from crm_events.topics import CONTACTS
from crm_platform.projection import Document, Index, Projection, fold
from crm_platform.sealing import SealedBlock


class ContactRow(Document, frozen=True, kw_only=True):
    """A contact. `indexes` are the blind indexes of its identifiers."""

    collection: ClassVar[str] = "contacts"
    indexes: ClassVar[tuple[Index, ...]] = (Index("-registered_at", "-_id"), Index("identifiers"))

    source: str
    identifiers: list[str]
    profile: SealedBlock | None
    registered_at: datetime
    updated_at: datetime
    erased_at: datetime | None = None


class AcknowledgementRow(msgspec.Struct, frozen=True, kw_only=True):
    service: str
    step: str
    at: datetime


class ErasureRow(Document, frozen=True, kw_only=True):
    """The erasure of the contact with that id, its last one if an earlier request was withdrawn.

    `ordered` is the step that services are to take now, None before the second person and once all is done; `cause` is
    the id of the event that confirmed it, and `story` the one it belongs to.
    """

    collection: ClassVar[str] = "erasures"
    indexes: ClassVar[tuple[Index, ...]] = (Index("-requested_at", "-_id"), Index("completed_at"))

    ground: str
    requested_by: str
    requested_at: datetime
    withdrawn_at: datetime | None = None
    confirmed_by: str | None = None
    erased_at: datetime | None = None
    cause: str = ""
    story: str = ""
    services: list[str] = []
    acknowledgements: list[AcknowledgementRow] = []
    ordered: str | None = None
    completed_at: datetime | None = None

    def waits_for(self) -> list[str]:
        """The services that have not taken the step that is ordered."""
        if self.ordered is None:
            return []
        given = [(each.service, each.step) for each in self.acknowledgements]
        return missing(ErasureStep(self.ordered), self.services, given)


class ErasureFolds(Projection):
    @fold(ErasureRequested, ErasureRow)
    def erasure_requested(self, _: ErasureRow | None, event: Recorded[ErasureRequested]) -> ErasureRow:
        return ErasureRow(
            id=str(event.subject),
            version=event.sequence,
            ground=event.data.ground.value,
            requested_by=event.data.requested_by,
            requested_at=event.data.occurred_at,
        )

    @fold(ErasureWithdrawn, ErasureRow)
    def erasure_withdrawn(self, row: ErasureRow, event: Recorded[ErasureWithdrawn]) -> ErasureRow:
        return msgspec.structs.replace(row, version=event.sequence, withdrawn_at=event.data.occurred_at)

    @fold(ContactErased, ErasureRow)
    def contact_erased(self, row: ErasureRow, event: Recorded[ContactErased]) -> ErasureRow:
        return msgspec.structs.replace(
            row,
            version=event.sequence,
            confirmed_by=event.data.confirmed_by,
            erased_at=event.data.occurred_at,
            cause=str(event.id),
            story=event.correlation,
            services=list(event.data.services),
            ordered=ErasureStep.DESTROY.value,
        )

    @fold(ErasureAcknowledged, ErasureRow)
    def erasure_acknowledged(self, row: ErasureRow, event: Recorded[ErasureAcknowledged]) -> ErasureRow:
        told = AcknowledgementRow(service=event.data.service, step=event.data.step.value, at=event.data.occurred_at)
        row = msgspec.structs.replace(row, version=event.sequence, acknowledgements=[*row.acknowledgements, told])
        return row if row.waits_for() else msgspec.structs.replace(row, ordered=ErasureStep.FORGET.value)

    @fold(ErasureCompleted, ErasureRow)
    def erasure_completed(self, row: ErasureRow, event: Recorded[ErasureCompleted]) -> ErasureRow:
        return msgspec.structs.replace(row, version=event.sequence, ordered=None, completed_at=event.data.occurred_at)


class Contacts(ErasureFolds):
    name, version, topics = "contacts.contacts", 1, (CONTACTS,)

    @fold(ContactRegistered, ContactRow)
    def registered(self, row: ContactRow | None, event: Recorded[ContactRegistered]) -> ContactRow:  # noqa: ARG002
        return ContactRow(
            id=str(event.subject),
            version=event.sequence,
            source=event.data.source,
            identifiers=[str(i.index) for i in event.data.identifiers],
            profile=SealedBlock.of(event.data.profile),
            registered_at=event.time,
            updated_at=event.time,
        )

    @fold(ContactUpdated, ContactRow)
    def updated(self, row: ContactRow, event: Recorded[ContactUpdated]) -> ContactRow:
        return msgspec.structs.replace(
            row,
            version=event.sequence,
            identifiers=[str(i.index) for i in event.data.identifiers],
            profile=SealedBlock.of(event.data.profile),
            updated_at=event.time,
        )

    @fold(ContactErased, ContactRow)
    def erased(self, row: ContactRow, event: Recorded[ContactErased]) -> ContactRow:
        return msgspec.structs.replace(
            row, version=event.sequence, identifiers=[], updated_at=event.time, erased_at=event.data.occurred_at
        )

    @fold(ErasureRequested, ContactRow)
    @fold(ErasureWithdrawn, ContactRow)
    @fold(ErasureAcknowledged, ContactRow)
    @fold(ErasureCompleted, ContactRow)
    def erasure_went_on(self, row: ContactRow, event: Recorded[Event]) -> ContactRow:
        """The list shows the version that a change has to name."""
        return msgspec.structs.replace(row, version=event.sequence)
