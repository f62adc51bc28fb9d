"""Orders as the CDNOW data set writes them.

Columns, separated by blanks: master customer id, sample customer id, date (YYYYMMDD), number of CDs, dollars.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from crm_events.adapter import Channel, Direction, InteractionRecorded
from crm_events.parties import Party
from crm_local.publish.lines import Line
from crm_local.publish.outcome import Outcome, Reading, outcomes
from crm_local.publish.refusal import LineRefusedError

SOURCE = "cdnow"
_COLUMNS = ("master customer id", "sample customer id", "date", "number of CDs", "dollars")
_CUSTOMER = re.compile(r"[0-9]{1,20}", re.ASCII)
_DATE = re.compile(r"[0-9]{8}", re.ASCII)
_QUANTITY = re.compile(r"[0-9]{1,9}", re.ASCII)
_DOLLARS = re.compile(r"-?[0-9]{1,13}(\.[0-9]{1,2})?", re.ASCII)


def read_orders(lines: Iterable[Line]) -> Iterator[Outcome]:
    """Each line is an order of its own, also one that repeats another exactly.

    A customer's orders of one day are numbered in the order of the file. A line that is refused for its amount or
    quantity keeps its number, so that the orders after it keep their ids when the line is put right.
    """
    orders_of_the_day: Counter[tuple[str, str]] = Counter()

    def read(line: Line) -> Reading:
        customer, date, quantity, dollars = _columns(line)
        day = _day(date)
        orders_of_the_day[customer, date] += 1
        external_id = f"{customer}/{date}/{orders_of_the_day[customer, date]}"
        return Reading(_order(external_id, customer, day, quantity, dollars))

    return outcomes(lines, read)


def _columns(line: Line) -> tuple[str, str, str, str]:
    columns = line.text().split()
    if len(columns) != len(_COLUMNS):
        raise LineRefusedError(
            f"an order has {len(_COLUMNS)} columns ({', '.join(_COLUMNS)}), this line has {len(columns)}"
        )
    master, customer, date, quantity, dollars = columns
    for name, value in (("master customer id", master), ("sample customer id", customer)):
        if not _CUSTOMER.fullmatch(value):
            raise LineRefusedError(f"{name}: not a number of at most 20 digits")
    return customer, date, quantity, dollars


def _day(date: str) -> datetime:
    try:
        if _DATE.fullmatch(date):
            return datetime.strptime(date, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise LineRefusedError("date: no such day") from error
    raise LineRefusedError("date: not eight digits, YYYYMMDD")


def _order(external_id: str, customer: str, day: datetime, quantity: str, dollars: str) -> InteractionRecorded:
    if not _QUANTITY.fullmatch(quantity):
        raise LineRefusedError("number of CDs: not a whole number of at most 9 digits")
    if not _DOLLARS.fullmatch(dollars):
        raise LineRefusedError("dollars: not an amount with at most 13 digits and two decimals")
    return InteractionRecorded(
        external_id=external_id,
        occurred_at=day,
        channel=Channel.ORDER,
        direction=Direction.INBOUND,
        party=Party(handle=f"{SOURCE}:{customer}"),
        attributes={"amount": dollars, "currency": "USD", "quantity": int(quantity)},
    )
