"""What can be set about contacts from the environment."""

from typing import Annotated

from pydantic import Field

from crm_platform.settings import SecretKey, ServiceSettings


class ContactsSettings(ServiceSettings):
    """`phone_region` (ISO 3166) is where a phone number without a country code is taken to be.

    Without it, such a number is compared by its digits.
    """

    identifier_pepper: SecretKey
    phone_region: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] | None = None
