"""Questions about erasures."""

from calendar import monthrange
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pydantic import BaseModel

from crm_contacts.projections import ErasureRow
from crm_platform.http.paging import Page, PageRequest
from crm_platform.read_model import ReadModel


class ErasureState(StrEnum):
    """`requested`: a second person has to confirm; `erasing`: not every service has acknowledged yet."""

    REQUESTED = "requested"
    WITHDRAWN = "withdrawn"
    ERASING = "erasing"
    COMPLETED = "completed"


class AcknowledgementView(BaseModel):
    """A service has taken a step: `destroy` its own keys, then `forget` everybody's."""

    service: str
    step: str
    at: datetime


class ErasureView(BaseModel):
    """How far an erasure is; once completed, the proof of it. Nothing here is about the person.

    `due_at` is a month after the request: Regulation (EU) 2016/679, Art. 12(3). `waits_for` are the services that have
    to take the next step.
    """

    contact_id: UUID
    state: ErasureState
    ground: str
    requested_by: str
    requested_at: datetime
    due_at: datetime
    withdrawn_at: datetime | None
    confirmed_by: str | None
    erased_at: datetime | None
    waits_for: list[str]
    acknowledgements: list[AcknowledgementView]
    completed_at: datetime | None


async def erasure(contacts: ReadModel, contact_id: UUID) -> ErasureView:
    """Raises NotFound."""
    return _view(await contacts.get(ErasureRow, contact_id))


async def all_erasures(contacts: ReadModel, paging: PageRequest) -> Page[ErasureView]:
    """The erasures, the last requested first."""
    page = await contacts.page(ErasureRow, paging, {}, newest_by="requested_at")
    return page.of([_view(row) for row in page.items])


def _view(row: ErasureRow) -> ErasureView:
    return ErasureView(
        contact_id=UUID(row.id),
        state=_state(row),
        ground=row.ground,
        requested_by=row.requested_by,
        requested_at=row.requested_at,
        due_at=_a_month_after(row.requested_at),
        withdrawn_at=row.withdrawn_at,
        confirmed_by=row.confirmed_by,
        erased_at=row.erased_at,
        waits_for=row.waits_for(),
        acknowledgements=[
            AcknowledgementView(service=each.service, step=each.step, at=each.at) for each in row.acknowledgements
        ],
        completed_at=row.completed_at,
    )


def _state(row: ErasureRow) -> ErasureState:
    if row.completed_at is not None:
        return ErasureState.COMPLETED
    if row.erased_at is not None:
        return ErasureState.ERASING
    return ErasureState.REQUESTED if row.withdrawn_at is None else ErasureState.WITHDRAWN


def _a_month_after(instant: datetime) -> datetime:
    """The same day of the next month, or that month's last one."""
    year, month = instant.year + instant.month // 12, instant.month % 12 + 1
    return instant.replace(year=year, month=month, day=min(instant.day, monthrange(year, month)[1]))
