"""How dates, money and other people's text are written for a person."""

import unicodedata
from datetime import UTC, datetime, timedelta
from decimal import Decimal

_UNITS = (
    (timedelta(days=365), "year"),
    (timedelta(days=30), "month"),
    (timedelta(days=7), "week"),
    (timedelta(days=1), "day"),
    (timedelta(hours=1), "hour"),
    (timedelta(minutes=1), "minute"),
)
_UNPRINTABLE = {"Cc", "Cf", "Cs", "Co", "Cn"}


def ago(then: datetime, now: datetime) -> str:
    """How long before or after `now` it was, in the largest unit that fits."""
    distance = abs(now - then)
    for unit, name in _UNITS:
        count = distance // unit
        if count:
            length = f"{count} {name}{'s' if count > 1 else ''}"
            return f"{length} ago" if then < now else f"in {length}"
    return "just now"


def moment(then: datetime) -> str:
    """Date and time in UTC, to the minute."""
    return f"{then.astimezone(UTC):%Y-%m-%d %H:%M}"


def money(amount: Decimal, currency: str) -> str:
    return f"{amount:,.2f} {currency}"


def plain(text: str, most: int = 100) -> str:
    """Somebody else's text on one line, at most `most` characters, with nothing in it that a terminal would obey."""
    printable = "".join(each if unicodedata.category(each) not in _UNPRINTABLE else " " for each in text[: 4 * most])
    line = " ".join(printable.split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"
