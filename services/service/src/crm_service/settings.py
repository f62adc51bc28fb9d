"""What can be set about the service desk from the environment."""

from crm_platform.settings import ServiceSettings


class ServiceDeskSettings(ServiceSettings):
    """The service desk adds nothing to what every service can be told."""
