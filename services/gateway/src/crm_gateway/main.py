"""The composition root: what is not constructed here does not exist."""

from starlette.middleware import Middleware

from crm_gateway.api.customers import customer_routes
from crm_gateway.api.description import description_routes
from crm_gateway.api.events import event_routes
from crm_gateway.api.interactions import interaction_routes
from crm_gateway.api.parked import parked_routes
from crm_gateway.api.personal_data import personal_data_routes
from crm_gateway.api.proxy import proxy_routes
from crm_gateway.api.schemas import schema_routes
from crm_gateway.api.subscriptions import subscription_routes
from crm_gateway.byte_budget import ByteBudget
from crm_gateway.interaction_log import InteractionLog
from crm_gateway.openapi import PlatformDescription
from crm_gateway.projections.customers import Customers
from crm_gateway.rate_limit import RateLimit
from crm_gateway.services import Services
from crm_gateway.settings import GatewaySettings
from crm_gateway.sources import Sources
from crm_gateway.subscriptions.event_filter import TOPICS
from crm_gateway.subscriptions.event_log import EventLog
from crm_gateway.subscriptions.open_streams import OpenStreams
from crm_gateway.subscriptions.subscriptions import Subscriptions
from crm_platform.authenticity import Authenticator
from crm_platform.identifiers import BlindIndexer
from crm_platform.service import Service


def compose() -> Service:
    settings = GatewaySettings()
    customers = Customers()
    services = Services(settings.service_urls())
    interactions = InteractionLog(settings.kafka_bootstrap)
    sources = Sources(settings.kafka_bootstrap, customers.topics)
    event_log = EventLog(settings.kafka_bootstrap, TOPICS, Authenticator(settings.installation()))
    subscriptions = Subscriptions(event_log, settings.cursor_key.get_secret_value())
    indexer = BlindIndexer(settings.identifier_pepper.get_secret_value(), settings.phone_region)
    return Service(
        name="gateway",
        settings=settings,
        projections=(customers,),
        api_runners=(services, interactions, sources, event_log),
        routers=(
            customer_routes(indexer, sources, settings.cursor_key.get_secret_value()),
            event_routes(),
            subscription_routes(subscriptions, OpenStreams(settings.event_streams, settings.event_streams_per_subject)),
            interaction_routes(interactions, ByteBudget(settings.interaction_bytes_in_work)),
            personal_data_routes(),
            schema_routes(),
            description_routes(PlatformDescription(services)),
            parked_routes(services),
            proxy_routes(services),
        ),
        middleware=(Middleware(RateLimit, people=settings.rate_limit_people, adapters=settings.rate_limit_adapters),),
    )
