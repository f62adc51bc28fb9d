"""An event through three releases, each with the class of its day, for the tests of how events evolve.

Version 1 knew a whole name; version 2 calls it `holder`; version 3 counts in hundredths, and says how it was paid.
"""

from typing import Any, ClassVar

from crm_events.event import Event, Personal, Value
from crm_events.parties import Note


class VoucherEvent(Event):
    context: ClassVar[str] = "vouchers"


class Gift(Value):
    """Sealed under every version. The third release added `occasion`."""

    text: str
    occasion: str | None = None


class V1(VoucherEvent):
    """A voucher was sold."""

    name: str
    amount: int
    gift: Personal[Note] | None = None


def calls_the_holder_so(data: dict[str, Any]) -> dict[str, Any]:
    return {**{name: value for name, value in data.items() if name != "name"}, "holder": data["name"]}


class V2(VoucherEvent):
    """A voucher was sold."""

    version: ClassVar[int] = 2
    upcasters = (calls_the_holder_so,)
    holder: str
    amount: int
    gift: Personal[Note] | None = None


def counts_in_hundredths(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "amount": data["amount"] * 100, "paid_by": "unknown"}


class V3(VoucherEvent):
    """A voucher was sold."""

    version: ClassVar[int] = 3
    upcasters = (calls_the_holder_so, counts_in_hundredths)
    holder: str
    amount: int
    paid_by: str
    gift: Personal[Gift] | None = None


for release in (V1, V2, V3):
    release.__name__ = "VoucherSold"
