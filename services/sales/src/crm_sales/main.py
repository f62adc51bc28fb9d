"""The composition root: what is not constructed here does not exist."""

from crm_platform.service import EventStoreDefinition, Service
from crm_sales.api import router
from crm_sales.policies import LinkLeads
from crm_sales.projections.leads import Leads
from crm_sales.projections.opportunities import Opportunities
from crm_sales.settings import SalesSettings


def compose() -> Service:
    return Service(
        name="sales",
        settings=SalesSettings(),
        events=EventStoreDefinition(context="sales", private=()),
        policies=(LinkLeads(),),
        projections=(Leads(), Opportunities()),
        routers=(router,),
    )
