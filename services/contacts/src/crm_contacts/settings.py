"""What can be set about contacts from the environment."""

from crm_platform.settings import PhoneRegion, SecretKey, ServiceSettings


class ContactsSettings(ServiceSettings):
    """`phone_region` (ISO 3166) is where a phone number without a country code is taken to be.

    Without it, such a number is compared by its digits.
    """

    identifier_pepper: SecretKey
    phone_region: PhoneRegion | None = None
