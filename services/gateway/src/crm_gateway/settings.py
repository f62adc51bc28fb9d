"""What the gateway is told besides what every service is told."""

from typing import Annotated

from pydantic import AnyHttpUrl, Field

from crm_platform.settings import PhoneRegion, SecretKey, ServiceSettings


class GatewaySettings(ServiceSettings):
    """`identifier_pepper` and `phone_region` are those of contacts: both compute the same blind indexes."""

    identifier_pepper: SecretKey
    phone_region: PhoneRegion | None = None
    contacts_url: AnyHttpUrl
    sales_url: AnyHttpUrl
    service_url: AnyHttpUrl
    marketing_url: AnyHttpUrl
    analytics_url: AnyHttpUrl

    rate_limit_people: Annotated[int, Field(ge=1)] = 10_000
    """How many requests one token subject may send in 10 seconds."""
    rate_limit_adapters: Annotated[int, Field(ge=1)] = 50_000
    """As above, for a subject with the role adapter."""
    event_streams: Annotated[int, Field(ge=1)] = 200
    """How many streams of events may be open at once."""
    event_streams_per_subject: Annotated[int, Field(ge=1)] = 8
    """As above, of one token subject."""
    interaction_bytes_in_work: Annotated[int, Field(ge=1024)] = 32 * 1024 * 1024
    """How many bytes of interactions are worked on at once; in memory they take several times as much."""

    def service_urls(self) -> dict[str, str]:
        """Where each service answers, by its name."""
        return {
            "contacts": str(self.contacts_url),
            "sales": str(self.sales_url),
            "service": str(self.service_url),
            "marketing": str(self.marketing_url),
            "analytics": str(self.analytics_url),
        }
