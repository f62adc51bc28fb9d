"""GET /api/events: published events, by themselves."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response

from crm_gateway.answers import BlastRadius
from crm_gateway.api.encoding import encoded
from crm_gateway.projections.customers import Customers
from crm_gateway.queries.blast_radius import blast_radius
from crm_platform.auth import STAFF
from crm_platform.http.reads import read_model
from crm_platform.read_model import ReadModel

CustomersRead = Annotated[ReadModel, Depends(read_model(Customers, *STAFF))]


def event_routes() -> APIRouter:
    """Events and what they led to."""
    router = APIRouter(prefix="/api/events", tags=["events"])

    @router.get("/{event_id}/trace", responses={200: {"model": BlastRadius}})
    async def trace(customers: CustomersRead, event_id: UUID) -> Response:
        """What led to an event, everything that followed from it across services, and the customers it touched."""
        return encoded(await blast_radius(customers, event_id))

    return router
