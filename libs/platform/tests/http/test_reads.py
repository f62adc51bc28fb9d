"""Reading: where an answer must have come to, and page after page."""

import base64
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin
from uuid import uuid4

import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st

from crm_events.topics import TOPICS
from crm_platform.errors import Malformed
from crm_platform.http.paging import CursorSigner
from crm_platform.http.reads import positions_after

STREAM = uuid4()
INSTANTS = st.datetimes(timezones=st.just(UTC))
SIGNER = CursorSigner(b"k" * 32, b"/leads")


def asking_after(value: str | None) -> Request:
    headers = [] if value is None else [(b"crm-after", value.encode("latin-1"))]
    return Request({"type": "http", "headers": headers})


def test_positions_are_read_as_they_were_given() -> None:
    assert positions_after(asking_after(None)) == ()
    assert positions_after(asking_after("")) == ()
    assert positions_after(asking_after(f"crm.sales/2@41 {STREAM}@1")) == ("crm.sales/2@41", f"{STREAM}@1")


@pytest.mark.parametrize(
    "header",
    ["41", "crm.sales@41", "crm.sales/2", "crm.sales/2@-1", "crm.sales/x@1", "a,b", f"{STREAM}", "$where/1@1", "é/1@1"],
)
def test_a_position_that_we_never_gave_is_malformed(header: str) -> None:
    with pytest.raises(Malformed):
        positions_after(asking_after(header))


@pytest.mark.parametrize(
    "header",
    ["crm.sales/6@5", "crm.sales/99@5", "crm.erasures/1@5", "crm.nonsense/0@1", "crm.sales/2@41 crm.sales/6@5"],
)
def test_a_position_in_a_partition_that_no_topic_has_is_malformed(header: str) -> None:
    with pytest.raises(Malformed, match=r"no topic has.*crm\.sales/0 to 5.*send back"):
        positions_after(asking_after(header))


def test_a_position_in_any_topic_of_the_platform_is_taken() -> None:
    last = tuple(f"{topic.name}/{topic.partitions - 1}@7" for topic in TOPICS)
    assert positions_after(asking_after(" ".join(last))) == last


def test_positions_are_bounded() -> None:
    assert len(positions_after(asking_after(" ".join(["crm.sales/2@41"] * 64)))) == 64
    with pytest.raises(Malformed):
        positions_after(asking_after(" ".join(["crm.sales/2@41"] * 65)))


@given(INSTANTS, st.text(max_size=50))
def test_a_cursor_says_where_the_page_ended(instant: datetime, id_: str) -> None:
    assert SIGNER.read(SIGNER.sign((instant, id_))) == (instant, id_)


@given(INSTANTS, st.data())
def test_a_cursor_that_was_changed_anywhere_is_refused(instant: datetime, data: st.DataObject) -> None:
    cursor = SIGNER.sign((instant, "17"))
    place = data.draw(st.integers(0, len(cursor) - 1))
    letter = data.draw(st.characters().filter(lambda letter: letter != cursor[place]))
    for changed in (cursor[:place] + letter + cursor[place + 1 :], cursor[:place], cursor + letter):
        with pytest.raises(Malformed):
            SIGNER.read(changed)


@given(st.binary(max_size=100), st.text(max_size=100))
def test_an_invented_cursor_is_refused(raw: bytes, text: str) -> None:
    for invented in (base64.urlsafe_b64encode(raw).decode(), text):
        with pytest.raises(Malformed):
            SIGNER.read(invented)


def test_a_cursor_of_another_query_or_key_is_refused() -> None:
    cursor = SIGNER.sign((datetime(2026, 1, 2, tzinfo=UTC), "17"))
    for other in (CursorSigner(b"k" * 32, b"/tickets"), CursorSigner(b"x" * 32, b"/leads")):
        with pytest.raises(Malformed):
            other.read(cursor)


async def test_a_read_after_what_cannot_be_is_refused_at_once_and_told_why(site: Any, issuer: Any) -> None:
    headers = {"Authorization": f"Bearer {issuer.token()}", "CRM-After": "crm.sales/99@5"}
    answer, problem = await site.ask("GET", "/things", headers=headers)
    assert (answer.status, answer.content_type) == (400, "application/problem+json")
    assert "CRM-After" in problem["detail"]


async def test_pages_follow_each_other_by_cursor_and_by_link(site: Any) -> None:
    seen, path = [], "/numbers?limit=4&kind=even"
    while path:
        answer, page = await site.ask("GET", path)
        assert answer.status == 200
        seen += page["items"]
        link = answer.links.get("next")
        assert (page["next"] is None) == (link is None)
        path = urljoin(str(answer.url), str(link["url"])).removeprefix(site.url) if link else ""
    assert seen == [str(n) for n in range(10)]


async def test_a_cursor_belongs_to_its_filters(site: Any) -> None:
    _, page = await site.ask("GET", "/numbers?limit=4&kind=even")
    answer, _ = await site.ask("GET", "/numbers", params={"kind": "odd", "cursor": page["next"]})
    assert answer.status == 400
    answer, more = await site.ask("GET", "/numbers", params={"kind": "even", "cursor": page["next"]})
    assert more["items"] == [str(n) for n in range(4, 10)]
    assert "next" not in answer.links
