"""Who and how much: the values that several contexts' events share."""

import re
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Self
from uuid import UUID

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from crm_events.event import Value

ONE_LINE = r"^[^\x00-\x1f\x7f]*$"
LINES = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
"""Text as people write it: without control characters, in LINES but for tabs and line ends."""
TWO_CAPITALS = r"^[A-Z]{2}$"
THREE_CAPITALS = r"^[A-Z]{3}$"
PATTERNS = {
    ONE_LINE: "one line of text, without control characters",
    LINES: "text without control characters other than tabs and line ends",
    TWO_CAPITALS: "two capital letters",
    THREE_CAPITALS: "three capital letters",
}
"""In words, for people who are told what a member should be."""

ShortText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=ONE_LINE)]
LongText = Annotated[str, StringConstraints(min_length=1, max_length=200_000, pattern=LINES)]
IdentifierText = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=320, pattern=ONE_LINE)
]
MAX_IDENTIFIERS = 64
"""Of one contact: what people have, with room for the cookies of years, and bounded."""
Currency = Annotated[str, StringConstraints(pattern=THREE_CAPITALS)]


def _written_as_amount(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,13}(\.[0-9]{1,2})?", value):
        raise ValueError("write an amount as digits with two decimal places at most, such as 1250.50")
    return value


def _written_as_date(value: object) -> object:
    if isinstance(value, int | float) or (isinstance(value, str) and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value)):
        raise ValueError("write a date as YYYY-MM-DD")
    return value


Amount = Annotated[Decimal, Field(max_digits=15, decimal_places=2), BeforeValidator(_written_as_amount)]
PlainDate = Annotated[date, BeforeValidator(_written_as_date)]
"""A day of the calendar, without a time."""


class IdentifierKind(StrEnum):
    """By what a contact is recognised. `reference` is a source's own id of a person without any other identifier."""

    EMAIL = "email"
    PHONE = "phone"
    HANDLE = "handle"
    COOKIE = "cookie"
    REFERENCE = "reference"


class Identifier(Value):
    """An identifier as it is written down: e-mail lower-cased, phone in E.164."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: IdentifierKind
    value: IdentifierText


class IdentifierIndex(Value):
    """A blind index: HMAC of kind and normalised value under the installation's pepper.

    Readers match on it without knowing the value.
    """

    kind: IdentifierKind
    index: UUID


class Party(Value):
    """Whom a fact is about: a contact's id, or identifiers, or at least a name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    contact_id: UUID | None = None
    email: IdentifierText | None = None
    phone: IdentifierText | None = None
    handle: IdentifierText | None = None
    cookie: IdentifierText | None = None
    name: ShortText | None = None

    @model_validator(mode="after")
    def _names_somebody(self) -> Self:
        if not any((self.contact_id, self.email, self.phone, self.handle, self.cookie, self.name)):
            raise ValueError("a party needs one of contact_id, email, phone, handle, cookie, name")
        return self

    def identifiers(self) -> tuple[Identifier, ...]:
        """The identifiers given, strongest first."""
        given = ((kind, getattr(self, kind.value)) for kind in IdentifierKind if kind is not IdentifierKind.REFERENCE)
        return tuple(Identifier(kind=kind, value=value) for kind, value in given if value)


class Address(Value):
    """A postal address; `lines` are the street lines in the order in which they are written on an envelope."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lines: Annotated[tuple[ShortText, ...], Field(max_length=6)] = ()
    city: ShortText | None = None
    region: ShortText | None = None
    postcode: ShortText | None = None
    country: Annotated[str, StringConstraints(pattern=TWO_CAPITALS)] | None = None


class Profile(Value):
    """What is known of a person: the personal block of a contact."""

    name: ShortText | None = None
    given_name: ShortText | None = None
    family_name: ShortText | None = None
    organisation: ShortText | None = None
    birth_date: PlainDate | None = None
    addresses: tuple[Address, ...] = ()
    identifiers: tuple[Identifier, ...] = ()


class Note(Value):
    """Free words of a colleague; free text may be about a person, so it is sealed."""

    text: LongText

    @classmethod
    def of(cls, text: str | None) -> "Note | None":
        """The note, or None where nothing was said."""
        return cls(text=text) if text else None


class Money(Value):
    """An amount with two decimal places at most, in one currency (ISO 4217)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    amount: Annotated[Amount, Field(ge=0)]
    currency: Currency

    @property
    def minor_units(self) -> int:
        """The amount in hundredths, exact: what totals are summed in."""
        return int(self.amount.scaleb(2))


class OrderValue(Money):
    """What an order was worth; a return is a negative amount."""

    amount: Amount
