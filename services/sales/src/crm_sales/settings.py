"""What can be set about sales from the environment."""

from crm_platform.settings import ServiceSettings


class SalesSettings(ServiceSettings):
    """Sales adds nothing to what every service can be told."""
