"""What can be set about marketing from the environment."""

from crm_platform.settings import ServiceSettings


class MarketingSettings(ServiceSettings):
    """Marketing adds nothing to what every service can be told."""
