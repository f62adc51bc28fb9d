"""Refusals as problem+json (RFC 9457): every answer that is not a success has this one shape."""

import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from eventsourcing.persistence import InterfaceError, OperationalError
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from crm_events.reasons import reason
from crm_platform import mongo, tracing
from crm_platform.errors import Malformed, NotFound, Refusal, TooLarge, Unavailable
from crm_platform.logging import get_logger

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:crm:problem:"
_MOST_ERRORS = 50
_LONGEST_POINTER = 200

log = get_logger("crm_platform.http")


class ProblemError(BaseModel):
    """What is wrong with one member of the body (`pointer`, RFC 6901) or with one parameter."""

    pointer: str | None = None
    parameter: str | None = None
    message: str


class Problem(BaseModel):
    """A refusal (RFC 9457). `type` is stable, for programs; `detail` says what was wrong and what to do."""

    type: str = Field(examples=[TYPE_PREFIX + "not-allowed"])
    title: str
    status: int
    detail: str
    instance: str = Field(description="Names this one refusal, by its request.")
    request_id: str
    trace_id: str | None = Field(default=None, description="The request's trace, where it is traced.")
    errors: list[ProblemError] = []


def request_id_of(scope: Scope) -> str:
    """The id under which a request is logged; it is also the correlation of its events."""
    known: str = scope.get("state", {}).get("request_id", "")
    return known


def problem(
    scope: Scope,
    status: int,
    code: str,
    title: str,
    detail: str,
    *,
    errors: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
    **members: object,
) -> Response:
    """The answer to a refused request. `members` are further members of the document."""
    request_id = request_id_of(scope)
    document: dict[str, object] = {
        "type": TYPE_PREFIX + code,
        "title": title,
        "status": status,
        "detail": detail,
        "instance": f"urn:crm:request:{request_id}",
        "request_id": request_id,
        **members,
    }
    if trace_id := tracing.current_ids().get("trace_id"):
        document["trace_id"] = trace_id
    if errors:
        document["errors"] = errors
    return Response(orjson.dumps(document), status, headers, MEDIA_TYPE)


def install_problems(app: FastAPI) -> None:
    """Answer every refusal of the app with problem+json."""
    app.add_exception_handler(Refusal, _refusal)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    for away in (mongo.MongoAway, OperationalError, InterfaceError):
        app.add_exception_handler(away, _database_away)


def internal_error(scope: Scope) -> Response:
    """The answer when the platform itself failed: it says nothing about how."""
    return problem(
        scope,
        500,
        "internal",
        "Something went wrong here",
        "The request could not be handled. It is logged under its request_id; repeating it may help.",
    )


def too_busy(scope: Scope) -> Response:
    """The answer to a request for which there is no room now."""
    return problem(
        scope,
        Unavailable.status,
        Unavailable.code,
        Unavailable.title,
        "Too many requests are being worked on; try again in a moment.",
        headers={"Retry-After": str(Unavailable.retry_after)},
    )


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)  # noqa: S101 - Starlette's handlers are typed for any exception
    headers = dict(getattr(error, "headers", None) or {})
    if error.status == 401:
        invalid = "authorization" in request.headers
        headers["WWW-Authenticate"] = 'Bearer error="invalid_token"' if invalid else "Bearer"
    elif error.status == 403:
        headers["WWW-Authenticate"] = 'Bearer error="insufficient_scope"'
    retry_after = getattr(error, "retry_after", None)
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return problem(request.scope, error.status, error.code, error.title, str(error) or error.title, headers=headers)


async def _database_away(request: Request, error: Exception) -> Response:
    log.warning("a database is away", err_type=type(error).__name__)
    return await _refusal(request, Unavailable("A database does not answer now; try again in a moment."))


_HTTP = {
    400: (Malformed.code, Malformed.title, "The body cannot be read: send JSON in UTF-8."),
    404: (NotFound.code, NotFound.title, "No route has this path."),
    405: ("method-not-allowed", "The method is not allowed here", "Use one of the methods that Allow names."),
    408: ("too-slow", "The request came too slowly", "Send the whole body at once."),
    415: ("unsupported-media-type", "The body is not JSON", "Send the body as application/json."),
}


_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - as above
    if error.status_code < 400:
        return Response(status_code=error.status_code, headers=error.headers)
    code, title, detail = _HTTP.get(error.status_code) or _other(error)
    headers = {"Allow": _allowed(request)} if error.status_code == 405 else error.headers
    return problem(request.scope, error.status_code, code, title, detail, headers=headers)


def _allowed(request: Request) -> str:
    """Every method of the path; Starlette names those of its first route only."""
    routes: Sequence[BaseRoute] = request.app.routes
    return ", ".join(
        method
        for method in _METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    )


def _other(error: HTTPException) -> tuple[str, str, str]:
    if error.status_code == 413:
        return TooLarge.code, TooLarge.title, str(error.detail)  # the limit is the route's own
    phrase = HTTPStatus(error.status_code).phrase
    return phrase.lower().replace(" ", "-"), phrase, str(error.detail)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as above
    found = error.errors()
    if any(each["type"] == "json_invalid" for each in found):
        return await _http(request, HTTPException(400))
    if isinstance(error.body, bytes):  # it was not parsed, since its content type does not say JSON
        return await _http(request, HTTPException(415))
    if any(each["loc"][:1] == ("path",) for each in found):
        return await _refusal(request, NotFound("There is no such thing: the id in the path is not well formed."))
    return problem(
        request.scope,
        422,
        "invalid",
        "The request does not fit the contract",
        "See errors: each names a member of the body or a parameter, and what it should be.",
        errors=list(_described(found)),
    )


def _described(found: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, str]]:
    for each in list(found)[:_MOST_ERRORS]:
        place, *path = each["loc"]
        parameter = str(path[0]) if path else str(place)
        where = {"pointer": _pointer(path)} if place == "body" else {"parameter": parameter}
        yield where | {"message": _message(each)}


def _pointer(path: Sequence[object]) -> str:
    steps = (str(step).replace("~", "~0").replace("/", "~1") for step in path)
    pointer = "".join(f"/{step}" for step in steps)
    return pointer[:_LONGEST_POINTER].encode(errors="replace").decode()


_YEAR = re.compile(r"(19|20)[0-9]{2}|9999")
_PLAIN = {
    "uuid_parsing": "Input should be a valid UUID",
    "union_tag_invalid": "Its kind is not one of those that are allowed",
}
"""For the errors of pydantic whose own message repeats what was sent."""


def _message(error: Mapping[str, Any]) -> str:
    message = _PLAIN.get(error["type"]) or reason(error)
    if error["type"] in ("value_error", "assertion_error") and _repeats(message, error.get("input")):
        return "Input is not valid"
    return message


def _repeats(message: str, value: object) -> bool:
    """Whether the message holds a word of what was sent: it may be personal, and answers are logged by many."""
    match value:
        case str():
            # A year stands in many messages, the calendar's last one too, and is nobody's.
            return any(word in message for word in re.findall(r"\w{3,}", value) if not _YEAR.fullmatch(word))
        case Mapping():
            return any(_repeats(message, each) for each in value.values())
        case list() | tuple():
            return any(_repeats(message, each) for each in value)
    return False
