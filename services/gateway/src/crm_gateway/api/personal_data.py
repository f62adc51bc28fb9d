"""GET /api/contacts/{id}/personal-data: what a person is entitled to be given."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response

from crm_gateway.answers import PersonalData
from crm_gateway.api.encoding import encoded
from crm_gateway.projections.customers import Customers
from crm_gateway.queries.personal_data import personal_data
from crm_platform.auth import Role
from crm_platform.http.reads import ReadGuard
from crm_platform.read_model import ReadModel

CustomersRead = Annotated[ReadModel, Depends(ReadGuard(Customers, (Role.PRIVACY,), admin=False))]


def personal_data_routes() -> APIRouter:
    """The export, behind a right of its own."""
    router = APIRouter(prefix="/api/contacts", tags=["privacy"])

    @router.get("/{contact_id}/personal-data", responses={200: {"model": PersonalData}})
    async def export(customers: CustomersRead, contact_id: UUID) -> Response:
        """Everything that is held about a person, by service, with all that is sealed in the clear; role privacy."""
        return encoded(await personal_data(customers, str(contact_id)))

    return router
