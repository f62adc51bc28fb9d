"""What can be set about analytics from the environment."""

from crm_platform.settings import ServiceSettings


class AnalyticsSettings(ServiceSettings):
    """Analytics adds nothing to what every service can be told."""
