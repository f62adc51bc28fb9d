"""What a request says about its command: id, target, version seen, fingerprint."""

from typing import Annotated
from uuid import uuid4

import pytest
from fastapi import APIRouter, Depends, Request
from hypothesis import given
from hypothesis import strategies as st

from crm_platform.auth import Actor, Role
from crm_platform.command import Command, Receipt
from crm_platform.errors import Malformed, NotFound
from crm_platform.health import Health
from crm_platform.http.app import create_app
from crm_platform.http.commands import CommandSender, Written, command_sender, fingerprint, headers_of, order_of
from crm_platform.http.etags import parse_if_match
from crm_platform.settings import ServiceSettings

ANNA, BERTA = Actor("anna", frozenset((Role.SALES,))), Actor("berta", frozenset((Role.SALES,)))
LEAD = uuid4()


class Score(Command):
    score: int
    labels: dict[str, str] = {}


def request(path: str = "/leads", *, id: object = None, **headers: str) -> Request:  # noqa: A002 - the path's id
    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    params = {} if id is None else {"id": id}
    scope = {"type": "http", "method": "POST", "path": path, "headers": raw, "path_params": params}
    return Request({**scope, "state": {"request_id": "r-1"}})


def test_a_command_without_a_key_is_new_each_time() -> None:
    first, second = (order_of(request(), ANNA, Score(score=1)) for _ in range(2))
    assert first.id != second.id
    assert first.target == first.id
    assert (first.actor, first.client_given, first.fingerprint, first.correlation) == ("anna", False, b"", "r-1")


def test_a_command_to_an_existing_aggregate_is_given_to_it() -> None:
    assert order_of(request(id=str(LEAD)), ANNA, Score(score=1)).target == LEAD
    with pytest.raises(NotFound):
        order_of(request(id="anna"), ANNA, Score(score=1))


def test_a_key_makes_the_same_id_for_the_same_person_and_path_only() -> None:
    order = order_of(request(idempotency_key="k"), ANNA, Score(score=1))
    again = order_of(request(idempotency_key="k"), ANNA, Score(score=2))
    others = [
        order_of(request(idempotency_key="k"), BERTA, Score(score=1)),
        order_of(request("/tickets", idempotency_key="k"), ANNA, Score(score=1)),
        order_of(request(idempotency_key="K"), ANNA, Score(score=1)),
    ]
    assert order.client_given
    assert again.id == order.id
    assert len({order.id, *(other.id for other in others)}) == 4


@pytest.mark.parametrize("key", ["", " ", "a b", "a\tb", "é", "x" * 201])
def test_a_key_that_is_not_visible_ascii_is_malformed(key: str) -> None:
    with pytest.raises(Malformed):
        order_of(request(idempotency_key=key), ANNA, Score(score=1))


def test_the_fingerprint_tells_another_command_from_the_same_one() -> None:
    one = fingerprint("k", Score(score=1, labels={"a": "1", "b": "2"}))
    assert len(one) == 32
    assert one == fingerprint("k", Score(score=1, labels={"b": "2", "a": "1"}))
    assert one != fingerprint("k", Score(score=2, labels={"a": "1", "b": "2"}))
    assert one != fingerprint("another", Score(score=1, labels={"a": "1", "b": "2"}))


@pytest.mark.parametrize(("header", "version"), [(None, None), ("*", None), ('"0"', 0), ('"3"', 3), (' "17" ', 17)])
def test_if_match_names_a_version(header: str | None, version: int | None) -> None:
    assert parse_if_match(header) == version


@pytest.mark.parametrize("header", ["", "3", 'W/"3"', '"3", "4"', '"-1"', '"03"', '"x"', '"99999999999"', '"٣"'])
def test_another_if_match_is_malformed(header: str) -> None:
    with pytest.raises(Malformed):
        parse_if_match(header)


@given(st.text())
def test_if_match_is_a_version_or_malformed_and_nothing_else(header: str) -> None:
    try:
        version = parse_if_match(header)
    except Malformed:
        return
    assert header.strip() == ("*" if version is None else f'"{version}"')


def test_the_answer_carries_version_and_positions() -> None:
    assert headers_of(Receipt(LEAD, 3)) == {"ETag": '"3"'}
    written = headers_of(Receipt(LEAD, 3, ("crm.sales/2@41", f"{LEAD}@1")))
    assert written == {"ETag": '"3"', "CRM-Position": f"crm.sales/2@41 {LEAD}@1"}


def test_the_document_declares_the_headers_of_a_command(environment: dict[str, str]) -> None:  # noqa: ARG001 - set
    router = APIRouter()

    sender = Depends(command_sender(Role.SALES, if_match_required=True))

    async def change(command: Score, send: Annotated[CommandSender, sender]) -> Written:
        raise NotImplementedError

    router.add_api_route("/leads/{id}", change, methods=["PATCH"])
    operation = create_app("test", ServiceSettings(), (router,), Health()).openapi()["paths"]["/leads/{id}"]["patch"]
    declared = {(each["in"], each["name"]): each["required"] for each in operation["parameters"]}
    assert declared == {("header", "Idempotency-Key"): False, ("header", "If-Match"): True, ("path", "id"): True}
    assert set(operation["responses"]["200"]["headers"]) == {"ETag", "CRM-Position"}
    assert {"401", "403", "404", "409", "412", "428", "503"} <= set(operation["responses"])
    assert operation["security"] == [{"bearer": []}]
