"""Identifiers as they are compared: normalised, then hidden behind a blind index (docs/adr/0005).

The same for the service that owns identity and for those who look people up, so it stands here once.
"""

import re
from collections.abc import Iterable
from uuid import UUID

import phonenumbers
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email

from crm_events.parties import Identifier, IdentifierIndex, IdentifierKind, Party
from crm_platform.errors import Refusal

LEAST_PHONE_DIGITS = 5
_INTERNATIONAL_PREFIX = re.compile(r"^\s*00(?=[1-9])")
"""00 before a country code means +, wherever the number is read."""
_COMMON_EMAIL = re.compile(
    r"[a-z0-9_+-]+(\.[a-z0-9_+-]+)*@([a-z0-9]+(-[a-z0-9]+)*\.)+[a-z]{2,}", re.ASCII | re.IGNORECASE
)
_RESERVED = tuple(f"{mark}{domain}" for mark in "@." for domain in SPECIAL_USE_DOMAIN_NAMES)
COMMON_LENGTH = 64
"""An address of the common form that is no longer than this keeps every bound there is on its parts."""


class NotAnIdentifier(Refusal):
    status, code, title = 422, "not-an-identifier", "It identifies nobody"


def normalise(identifier: Identifier, phone_region: str | None = None) -> Identifier:
    """The identifier as it is compared: e-mail and handle in lower case, phone in E.164 where it can be read as one.

    A phone number without a country code is read in `phone_region` (ISO 3166), or kept as its digits.
    Raises NotAnIdentifier.
    """
    match identifier.kind:
        case IdentifierKind.EMAIL:
            value = _email(identifier.value)
        case IdentifierKind.PHONE:
            value = _phone(identifier.value, phone_region)
        case IdentifierKind.HANDLE:
            value = _handle(identifier.value)
        case _:
            value = identifier.value
    return Identifier(kind=identifier.kind, value=value)


def must_identify(party: Party) -> None:
    """Refuse a party before its fact is stored, if contacts could never answer it. Raises NotAnIdentifier."""
    for identifier in party.identifiers():
        normalise(identifier)


def _handle(raw: str) -> str:
    """With or without the sign in front of it, it is the same handle."""
    handle = raw.casefold().removeprefix("@")
    if not handle:
        raise NotAnIdentifier("The handle is empty: write it as @name or name.")
    return handle


def _email(raw: str) -> str:
    # Nearly every address has this form; reading it as any address that there can be costs fifty times as much.
    if len(raw) <= COMMON_LENGTH and _COMMON_EMAIL.fullmatch(raw) and not raw.lower().endswith(_RESERVED):
        return raw.lower()
    try:
        checked = validate_email(raw, check_deliverability=False, globally_deliverable=False)
    except EmailNotValidError as refusal:
        raise NotAnIdentifier("The e-mail address is not one: write it as name@domain.") from refusal
    return checked.normalized.lower()


def _phone(raw: str, region: str | None) -> str:
    try:
        number = phonenumbers.parse(_INTERNATIONAL_PREFIX.sub("+", raw), region)
    except phonenumbers.NumberParseException:
        number = None
    if number is not None and phonenumbers.is_possible_number(number):
        return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    digits = "".join(c for c in raw if c.isdigit())
    if len(digits) < LEAST_PHONE_DIGITS:
        raise NotAnIdentifier("The phone number is not one: write it with its country code, as +49 30 1234567.")
    return digits


class BlindIndexer:
    """HMAC-SHA-256 of kind and normalised value under the installation's pepper, its first 16 bytes as a UUID."""

    def __init__(self, pepper: bytes, phone_region: str | None = None) -> None:
        # Of every interaction some are made: what depends on the pepper alone is done once, at a third of the time.
        self._peppered = HMAC(pepper, SHA256())
        self._phone_region = phone_region

    def normal(self, identifier: Identifier) -> Identifier:
        """The identifier as this installation compares it; raises NotAnIdentifier."""
        return normalise(identifier, self._phone_region)

    def index(self, identifier: Identifier) -> UUID:
        """The blind index of a normalised identifier; it is the id of the identifier's own aggregate, too."""
        hidden = self._peppered.copy()
        hidden.update(f"{identifier.kind.value}:{identifier.value}".encode())
        return UUID(bytes=hidden.finalize()[:16])

    def index_all(self, identifiers: Iterable[Identifier]) -> tuple[IdentifierIndex, ...]:
        return tuple(IdentifierIndex(kind=i.kind, index=self.index(i)) for i in identifiers)
