"""The composition root: what is not constructed here does not exist."""

from crm_platform.service import EventStoreDefinition, Service
from crm_service.api import router
from crm_service.policies import LinkTickets
from crm_service.projections import Tickets
from crm_service.settings import ServiceDeskSettings


def compose() -> Service:
    return Service(
        name="service",
        settings=ServiceDeskSettings(),
        events=EventStoreDefinition(context="service", private=()),
        policies=(LinkTickets(),),
        projections=(Tickets(),),
        routers=(router,),
    )
