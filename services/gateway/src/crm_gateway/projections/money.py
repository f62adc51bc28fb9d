"""Money as records keep it: exact, in minor units."""

from decimal import Decimal

import msgspec

from crm_events.parties import Money


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """An amount in hundredths of a currency (ISO 4217)."""

    minor: int
    currency: str

    @classmethod
    def of(cls, money: Money | None) -> "Price | None":
        return None if money is None else cls(minor=money.minor_units, currency=money.currency)


def decimal_string(minor: int) -> str:
    """Hundredths as a decimal number with two places: 1999 -> "19.99"."""
    return f"{Decimal(minor).scaleb(-2):.2f}"
