"""The contacts list, as contacts shows it to its own users."""

from datetime import datetime
from typing import ClassVar

import msgspec

from crm_events.contacts import ContactRegistered, ContactUpdated
from crm_events.envelope import Recorded
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


class Contacts(Projection):
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
