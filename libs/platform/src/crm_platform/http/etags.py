"""Versions as entity tags: `ETag: "3"` is version 3 of an aggregate (docs/adr/0004)."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Protocol, TypeVar

from fastapi import Depends, Request, Response
from starlette.exceptions import HTTPException

from crm_platform.errors import Malformed

_STRONG = re.compile(r'"(0|[1-9][0-9]{0,9})"')


def etag(version: int) -> str:
    return f'"{version}"'


def parse_if_match(value: str | None) -> int | None:
    """The version that the client has seen; None for an absent header and for `*`, any version that exists.

    Raises Malformed for anything but one strong tag.
    """
    if value is None or value.strip() == "*":
        return None
    tag = _STRONG.fullmatch(value.strip())
    if tag is None:
        raise Malformed('If-Match must be * or one strong entity tag as ETag gave it, such as "3".')
    return int(tag[1])


class Versioned(Protocol):
    @property
    def version(self) -> int: ...


V = TypeVar("V", bound=Versioned)


class ConditionalAnswer:
    """Answers one thing with its version as ETag, or with 304 where the client holds that version already."""

    def __init__(self, request: Request, response: Response) -> None:
        self._request = request
        self._response = response

    def __call__(self, view: V) -> V:
        tag = self._response.headers["ETag"] = etag(view.version)
        not_modified(self._request, tag)
        return view


Answer = Annotated[ConditionalAnswer, Depends(ConditionalAnswer)]


def not_modified(request: Request, tag: str, headers: Mapping[str, str] = MappingProxyType({})) -> None:
    """End the request with 304 if the client already holds that version (If-None-Match).

    `headers` are those that a full answer would carry besides its tag (RFC 9110, 15.4.5).
    """
    held = request.headers.get("if-none-match")
    if held is None:
        return
    tags = [each.strip().removeprefix("W/") for each in held.split(",")]
    if tag in tags or tags == ["*"]:
        raise HTTPException(304, headers={**headers, "ETag": tag})
