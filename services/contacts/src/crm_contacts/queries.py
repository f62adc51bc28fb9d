"""Questions about contacts."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel

from crm_contacts.projections import ContactRow
from crm_events.parties import Profile
from crm_platform.http.paging import Page, PageRequest
from crm_platform.read_model import ReadModel


class ContactView(BaseModel):
    """A contact as its users see it; `profile` is null once its data is erased, and `erased_at` says since when."""

    id: UUID
    version: int
    source: str
    registered_at: datetime
    updated_at: datetime
    erased_at: datetime | None
    profile: Profile | None


async def contact(contacts: ReadModel, contact_id: UUID) -> ContactView:
    """Raises NotFound."""
    row = await contacts.get(ContactRow, contact_id)
    return _view(row, await contacts.open(row.profile, Profile))


async def all_contacts(contacts: ReadModel, paging: PageRequest) -> Page[ContactView]:
    """The contacts, the newest registered first."""
    page = await contacts.page(ContactRow, paging, {}, newest_by="registered_at")
    profiles = await contacts.open_all([row.profile for row in page.items], Profile)
    return page.of([_view(row, profile) for row, profile in zip(page.items, profiles, strict=True)])


def _view(row: ContactRow, profile: Profile | None) -> ContactView:
    return ContactView(
        id=UUID(row.id),
        version=row.version,
        source=row.source,
        registered_at=row.registered_at,
        updated_at=row.updated_at,
        erased_at=row.erased_at,
        profile=profile,
    )
