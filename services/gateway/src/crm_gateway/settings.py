"""What the gateway is told besides what every service is told."""

from pydantic import AnyHttpUrl

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

    def service_urls(self) -> dict[str, str]:
        """Where each service answers, by its name."""
        return {
            "contacts": str(self.contacts_url),
            "sales": str(self.sales_url),
            "service": str(self.service_url),
            "marketing": str(self.marketing_url),
            "analytics": str(self.analytics_url),
        }
