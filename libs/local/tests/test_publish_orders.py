"""How lines of purchases become orders on the timeline."""

import os
from collections import Counter
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_events.adapter import Channel, Direction, InteractionRecorded
from crm_local.publish.lines import read_lines
from crm_local.publish.orders import read_orders
from crm_local.publish.outcome import Outcome, Refused, Taken

_SAMPLE_DATA = Path(os.environ.get("CRM_SAMPLE_DATA") or Path(__file__).parents[4] / "shared" / "data")


def _orders(content: bytes) -> list[Outcome]:
    return list(read_orders(read_lines(BytesIO(content))))


def _ids(outcomes: list[Outcome]) -> list[str]:
    return [each.record.external_id for each in outcomes if isinstance(each, Taken)]


def _refusals(outcomes: list[Outcome]) -> list[tuple[int, str]]:
    return [(each.line.number, each.reason) for each in outcomes if isinstance(each, Refused)]


def test_a_line_is_an_inbound_order_of_its_customer_on_its_day() -> None:
    (outcome,) = _orders(b" 00004 0001 19970101  2   29.33\r\n")
    assert isinstance(outcome, Taken)
    order = outcome.record
    assert isinstance(order, InteractionRecorded)
    assert (order.channel, order.direction) == (Channel.ORDER, Direction.INBOUND)
    assert order.party.handle == "cdnow:0001"
    assert order.occurred_at == datetime(1997, 1, 1, tzinfo=UTC)
    assert order.attributes == {"amount": "29.33", "currency": "USD", "quantity": 2}
    assert order.external_id == "0001/19970101/1"


def test_an_exact_repeat_is_an_order_of_its_own() -> None:
    line = b" 00004 0001 19970101  2   29.33\r\n"
    assert _ids(_orders(line + line)) == ["0001/19970101/1", "0001/19970101/2"]


def test_blank_lines_are_no_orders() -> None:
    assert _ids(_orders(b"\r\n 00004 0001 19970101 2 29.33\r\n   \n\n")) == ["0001/19970101/1"]


def test_an_order_that_is_refused_for_its_amount_keeps_its_number() -> None:
    wrong = b"4 1 19970101 2 12.345\n4 1 19970101 2 29.33\n"
    righted = b"4 1 19970101 2 12.34\n4 1 19970101 2 29.33\n"
    assert _ids(_orders(wrong)) == ["1/19970101/2"]
    assert _ids(_orders(righted)) == ["1/19970101/1", "1/19970101/2"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"4 1 19970101 2", "an order has 5 columns"),
        (b"4 1 19970230 2 9.99", "date: no such day"),
        (b"4 1 970101 2 9.99", "date: not eight digits"),
        (b"4 1 19970101 two 9.99", "number of CDs: not a whole number"),
        (b"4 1 19970101 2 nan", "dollars: not an amount"),
        (b"4 1 19970101 2 9.999", "dollars: not an amount"),
        (b"4 x1 19970101 2 9.99", "sample customer id: not a number"),
        (b"4 1 19970101 2 9.99\xff", "not UTF-8"),
        (b"4 1 19970101 2 9.99" + b" " * 300_000 + b"1", "longer than 262144 bytes"),
    ],
)
def test_a_line_that_is_no_order_is_refused_with_its_number_and_reason(line: bytes, reason: str) -> None:
    outcomes = _orders(b"4 1 19970101 1 5.00\n" + line + b"\n4 2 19970101 1 5.00\n")
    ((number, given_reason),) = _refusals(outcomes)
    assert number == 2
    assert given_reason.startswith(reason)
    assert _ids(outcomes) == ["1/19970101/1", "2/19970101/1"]


_PURCHASES = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from(["19970101", "19970102"]), st.integers(0, 5)), max_size=40
)


@given(_PURCHASES)
def test_the_orders_of_a_customer_and_day_are_numbered_without_gaps_in_file_order(
    purchases: list[tuple[int, str, int]],
) -> None:
    content = "".join(f"0 {customer} {day} {count} 1.00\n" for customer, day, count in purchases).encode()
    seen: Counter[tuple[int, str]] = Counter()
    expected = []
    for customer, day, _ in purchases:
        seen[customer, day] += 1
        expected.append(f"{customer}/{day}/{seen[customer, day]}")
    assert _ids(_orders(content)) == expected


@given(st.binary(max_size=400))
def test_whatever_a_file_holds_each_line_has_one_outcome_and_reading_it_again_gives_the_same(content: bytes) -> None:
    first = _orders(content)
    assert _orders(content) == first
    filled = [number for number, line in enumerate(content.split(b"\n"), start=1) if line.strip()]
    assert [outcome.line.number for outcome in first] == filled


def test_the_cdnow_sample_is_taken_whole() -> None:
    file = _SAMPLE_DATA / "orders.txt"
    if not file.exists():
        pytest.skip(f"the CDNOW sample is not at {file}; CRM_SAMPLE_DATA names its folder")
    outcomes = _orders(file.read_bytes())
    taken = [each.record for each in outcomes if isinstance(each, Taken)]
    assert len(outcomes) == len(taken) == len({each.external_id for each in taken}) == 6_919
    assert len({each.party.handle for each in taken if isinstance(each, InteractionRecorded)}) == 2_357
