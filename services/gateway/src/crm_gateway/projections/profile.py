"""Who the customer is."""

from datetime import datetime

import msgspec

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
from crm_events.event import Event
from crm_platform.projection import Document, Index, Projection, fold
from crm_platform.sealing import SealedBlock


class CustomerProfile(Document, frozen=True, kw_only=True):
    """A contact, its profile sealed. `identifiers` are the blind indexes by which the contact is looked up.

    Once it is erased there are none, and nothing opens the profile.
    """

    collection = "profiles"
    indexes = (Index("identifiers"),)

    source: str
    identifiers: tuple[str, ...]
    profile: SealedBlock | None
    registered_at: datetime
    updated_at: datetime
    erased_at: datetime | None = None


class ProfileFolds(Projection):
    @fold(ContactRegistered, CustomerProfile)
    def contact_registered(self, _: CustomerProfile | None, event: Recorded[ContactRegistered]) -> CustomerProfile:
        return CustomerProfile(
            id=str(event.subject),
            version=event.sequence,
            source=event.data.source,
            identifiers=tuple(str(identifier.index) for identifier in event.data.identifiers),
            profile=SealedBlock.of(event.data.profile),
            registered_at=event.data.occurred_at,
            updated_at=event.data.occurred_at,
        )

    @fold(ContactUpdated, CustomerProfile)
    def contact_updated(self, profile: CustomerProfile, event: Recorded[ContactUpdated]) -> CustomerProfile:
        return msgspec.structs.replace(
            profile,
            version=event.sequence,
            identifiers=tuple(str(identifier.index) for identifier in event.data.identifiers),
            profile=SealedBlock.of(event.data.profile),
            updated_at=event.data.occurred_at,
        )

    @fold(ContactErased, CustomerProfile)
    def contact_erased(self, profile: CustomerProfile, event: Recorded[ContactErased]) -> CustomerProfile:
        return msgspec.structs.replace(
            profile,
            version=event.sequence,
            identifiers=(),
            updated_at=event.data.occurred_at,
            erased_at=event.data.occurred_at,
        )

    @fold(ErasureRequested, CustomerProfile)
    @fold(ErasureWithdrawn, CustomerProfile)
    @fold(ErasureAcknowledged, CustomerProfile)
    @fold(ErasureCompleted, CustomerProfile)
    def erasure_went_on(self, profile: CustomerProfile, event: Recorded[Event]) -> CustomerProfile:
        return msgspec.structs.replace(profile, version=event.sequence)
