"""POST /api/interactions: the door for adapters that do not speak Kafka."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from typing_extensions import TypedDict  # pydantic reads no other on Python 3.11

from crm_gateway.byte_budget import ByteBudget
from crm_gateway.interaction_log import InteractionLog
from crm_gateway.interactions import (
    AcceptedInteraction,
    Envelope,
    LogRecord,
    RefusedInteraction,
    UnreadBatch,
    read_interaction,
)
from crm_platform.auth import Actor, Role, require
from crm_platform.errors import Malformed
from crm_platform.http.commands import POSITION_HEADER
from crm_platform.http.middleware import accepts_bodies_up_to
from crm_platform.http.problems import request_id_of
from crm_platform.tracing import current_traceparent

MAX_BATCH_BYTES = 16 * 1024 * 1024
MOST_POSITIONS = 50
"""So many interactions of one request can be waited for; more would not fit a header."""
READ_AT_ONCE = 100

Sender = Annotated[Actor, Depends(require(Role.ADAPTER, Role.SALES, Role.SERVICE, Role.MARKETING))]


class BatchAnswer(TypedDict):
    """What became of each interaction, in the order in which they were sent."""

    accepted: int
    refused: int
    results: list[AcceptedInteraction | RefusedInteraction]


def interaction_routes(interactions: InteractionLog, budget: ByteBudget) -> APIRouter:
    router = APIRouter(prefix="/api/interactions", tags=["interactions"])

    @router.post(
        "",
        status_code=202,
        responses={
            200: {"model": BatchAnswer, "description": "None was accepted."},
            202: {"model": BatchAnswer, "description": "Those accepted are stored and will be in the timelines."},
        },
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/InteractionBatch"}}},
            }
        },
    )
    @accepts_bodies_up_to(MAX_BATCH_BYTES)
    async def take_interactions(request: Request, actor: Sender) -> Response:
        """Take interactions of any channel, up to 2,000 at a time; each is accepted or refused by itself.

        Repeating a request is harmless: an interaction is known by `source` and `external_id`.
        """
        with budget.taking(_size(request)):
            batch = _batch(request, await request.body())
            envelope = Envelope(
                batch.source, datetime.now(UTC), actor.subject, request_id_of(request.scope), current_traceparent()
            )
            results, records = await _read(batch, envelope)
            if records:
                await interactions.append(records)
            return _answer(results)

    return router


def _size(request: Request) -> int:
    """How long the body may become: as long as it says, or as long as it may be."""
    declared = request.headers.get("content-length", "")
    return min(int(declared), MAX_BATCH_BYTES) if declared.isdecimal() else MAX_BATCH_BYTES


def _batch(request: Request, body: bytes) -> UnreadBatch:
    """Raises HTTPException 415, Malformed or RequestValidationError."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415)
    try:
        sent = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Malformed("The body cannot be read: send JSON in UTF-8.") from None
    if not isinstance(sent, dict):
        raise Malformed("The body must be an object with the members source and interactions.")
    try:
        return UnreadBatch.model_validate(sent)
    except ValidationError as invalid:
        errors = invalid.errors(include_url=False)
        raise RequestValidationError([{**error, "loc": ("body", *error["loc"])} for error in errors]) from None


async def _read(
    batch: UnreadBatch, envelope: Envelope
) -> tuple[list[AcceptedInteraction | RefusedInteraction], list[LogRecord]]:
    results: list[AcceptedInteraction | RefusedInteraction] = []
    records: list[LogRecord] = []
    for index, item in enumerate(batch.interactions):
        if index % READ_AT_ONCE == READ_AT_ONCE - 1:
            await asyncio.sleep(0)  # reading is work for the processor: let other requests have their turn
        match read_interaction(index, item, envelope):
            case (receipt, record):
                results.append(receipt)
                records.append(record)
            case refused:
                results.append(refused)
    return results, records


def _answer(results: list[AcceptedInteraction | RefusedInteraction]) -> Response:
    accepted = [result["id"] for result in results if result["accepted"]]
    answer: BatchAnswer = {"accepted": len(accepted), "refused": len(results) - len(accepted), "results": results}
    headers = {}
    if accepted and len(accepted) <= MOST_POSITIONS:
        headers[POSITION_HEADER] = " ".join(f"{interaction}@1" for interaction in accepted)
    return Response(orjson.dumps(answer), 202 if accepted else 200, headers, "application/json")
