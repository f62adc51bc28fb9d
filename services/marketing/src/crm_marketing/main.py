"""The composition root: what is not constructed here does not exist."""

from crm_marketing.api import router
from crm_marketing.policies import RecordEngagements
from crm_marketing.projections import Campaigns
from crm_marketing.settings import MarketingSettings
from crm_platform.service import EventStoreDefinition, Service


def compose() -> Service:
    return Service(
        name="marketing",
        settings=MarketingSettings(),
        events=EventStoreDefinition(context="marketing", private=()),
        policies=(RecordEngagements(),),
        projections=(Campaigns(),),
        routers=(router,),
    )
