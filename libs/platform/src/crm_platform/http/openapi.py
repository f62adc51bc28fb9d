"""What the OpenAPI document says beyond the routes: problems, the headers of commands and reads."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from starlette.routing import BaseRoute

from crm_platform.auth import Guard
from crm_platform.http.commands import CommandGuard
from crm_platform.http.paging import page_request
from crm_platform.http.problems import MEDIA_TYPE, Problem
from crm_platform.http.reads import ReadGuard

_REF = "#/components/schemas/{model}"
_PROBLEM_REF = {"$ref": "#/components/responses/Problem"}

_COMMAND_ANSWER_HEADERS = {
    "ETag": {"description": "The version after the command.", "schema": {"type": "string"}},
    "CRM-Position": {
        "description": "Where the command's events stand; send it back as CRM-After to read your own write.",
        "schema": {"type": "string"},
    },
}
_LINK = {"Link": {"description": 'rel="next": the following page (RFC 8288).', "schema": {"type": "string"}}}


def _header(name: str, description: str, *, required: bool = False, **schema: object) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": required,
        "description": description,
        "schema": {"type": "string", **schema},
    }


_IDEMPOTENCY_KEY = _header(
    "Idempotency-Key",
    "Makes the command safe to repeat: a repeat is answered with the first one's answer.",
    pattern="^[!-~]{1,200}$",
)
_AFTER = _header("CRM-After", "CRM-Position of an earlier write: the answer includes it, or is 503 after 5 seconds.")
_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}


def describe(document: dict[str, Any], routes: Sequence[BaseRoute]) -> dict[str, Any]:
    """The document with what the platform adds around every route."""
    for route in iter_route_contexts(routes):
        if isinstance(route.original_route, APIRoute) and route.original_route.include_in_schema:
            for method in route.methods or ():
                _describe_operation(document["paths"][route.path_format][method.lower()], route)
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    schema = Problem.model_json_schema(ref_template=_REF, mode="serialization")
    schemas.update(schema.pop("$defs", {}))
    schemas["Problem"] = schema
    components["responses"] = {
        "Problem": {
            "description": "The request was refused (RFC 9457).",
            "content": {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}},
        }
    }
    return document


def _describe_operation(operation: dict[str, Any], route: RouteContext) -> None:
    calls = set(_calls(route.dependant))
    statuses = {"500"}
    path = route.path_format or ""
    if "requestBody" in operation:
        statuses |= {"400", "408", "413", "415", "422"}
    if "422" in operation["responses"]:
        statuses.add("422")
    if "{" in path:
        statuses.add("404")
    if page_request in calls:
        statuses.add("400")
        _success(operation)["headers"] = _LINK
    for guard in (call for call in calls if isinstance(call, Guard)):
        statuses |= {"401", "403", "429", "503"}
        match guard:
            case CommandGuard():
                statuses |= _describe_command(operation, guard, path)
            case ReadGuard():
                statuses.add("400")
                _add_parameters(operation, _AFTER)
    operation["responses"].update(dict.fromkeys(sorted(statuses), _PROBLEM_REF))


def _describe_command(operation: dict[str, Any], guard: CommandGuard, path: str) -> set[str]:
    required = guard.if_match_required
    if_match = _header("If-Match", "ETag of the version to be changed, or *.", required=required)
    _add_parameters(operation, _IDEMPOTENCY_KEY, if_match)
    if "{id}" in path:
        _add_parameters(operation, _ID)
    _success(operation)["headers"] = _COMMAND_ANSWER_HEADERS
    return {"400", "409", "412", "422"} | ({"428"} if required else set())


def _success(operation: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = next(answer for status, answer in operation["responses"].items() if status[0] == "2")
    return answer


def _add_parameters(operation: dict[str, Any], *parameters: dict[str, Any]) -> None:
    known = operation.setdefault("parameters", [])
    names = {(each["in"], each["name"]) for each in known}
    known.extend(each for each in parameters if (each["in"], each["name"]) not in names)


def _calls(dependant: Dependant) -> Iterator[Any]:
    """What a route depends on, directly or not."""
    pending: list[Iterable[Dependant]] = [dependant.dependencies]
    while pending:
        for each in pending.pop():
            yield each.call
            pending.append(each.dependencies)
