"""Pages: an opaque, signed cursor says where the next one begins (docs/adr/0004)."""

import base64
import binascii
import hmac
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Final, Generic, TypeVar
from urllib.parse import urlencode

import msgspec
from fastapi import Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from crm_platform.errors import Malformed

T = TypeVar("T")
U = TypeVar("U")

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200
_SIGNATURE_BYTES: Final = 16

Position = tuple[datetime, str]
"""Where a page ended: the last item's sort instant and its id."""


class Page(BaseModel, Generic[T]):
    """Some of the items; `next` is the cursor of the following page, null on the last one."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    items: list[T]
    next: str | None = Field(default=None, description="Send it as `cursor` to get the following page.")

    def of(self, items: list[U]) -> "Page[U]":
        """The same page with each item in another form."""
        return Page(items=items, next=self.next)


@dataclass(frozen=True, slots=True)
class CursorSigner:
    """Signs positions for one query: a cursor of another route, path or filter is not accepted."""

    key: bytes
    query: bytes

    def sign(self, position: Position) -> str:
        return self.sign_payload(msgspec.msgpack.encode(position))

    def read(self, cursor: str) -> Position:
        """Raises Malformed for a cursor that this query did not give."""
        position: Position = msgspec.msgpack.decode(self.payload(cursor), type=Position)
        return position

    def sign_payload(self, payload: bytes) -> str:
        """A cursor that holds whatever says where a query goes on."""
        return _text(self._signature(payload) + payload)

    def payload(self, cursor: str) -> bytes:
        """What was signed. Raises Malformed for a cursor that this query did not give."""
        refusal = Malformed("The cursor is not one that this query gave: start again without it.")
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise refusal from None
        signature, payload = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._signature(payload)) or _text(raw) != cursor:
            raise refusal
        return payload

    def _signature(self, payload: bytes) -> bytes:
        return hmac.digest(self.key, self.query + payload, "sha256")[:_SIGNATURE_BYTES]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page is asked for: at most `limit` items after the position `after` (None = from the start)."""

    limit: int
    after: Position | None
    signer: CursorSigner
    response: Response = field(repr=False)
    filters: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def page(self, items: list[T], ends_at: Position | None) -> Page[T]:
        """The page; `ends_at` is the last item's position if more items follow, else None."""
        if ends_at is None:
            return Page(items=items)
        cursor = self.signer.sign(ends_at)
        query = urlencode([*self.filters, ("limit", str(self.limit)), ("cursor", cursor)])
        # Relative, so that it holds behind any gateway.
        self.response.headers["Link"] = f'<?{query}>; rel="next"'
        return Page(items=items, next=cursor)


async def page_request(
    request: Request,
    response: Response,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Items a page.")] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Query(max_length=512, description="`next` of the page before.")] = None,
) -> PageRequest:
    """Raises Malformed for a cursor that was tampered with or belongs to another query."""
    filters = tuple(sorted((n, v) for n, v in request.query_params.multi_items() if n not in ("limit", "cursor")))
    signer = CursorSigner(request.app.state.cursor_key, _query_id(request.scope["path"], filters))
    after = signer.read(cursor) if cursor else None
    return PageRequest(limit, after, signer, response, filters)


def _query_id(path: str, filters: tuple[tuple[str, str], ...]) -> bytes:
    # Length-prefixed by the encoding, so that no filter can pass for a part of another.
    return msgspec.msgpack.encode((path, filters))


Paging = Annotated[PageRequest, Depends(page_request)]
"""The page that a request asks for: query parameters `limit` (1..200, default 50) and `cursor`."""
