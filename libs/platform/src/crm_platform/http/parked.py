"""The doors of those who resolve parked events; for administrators only (docs/adr/0011)."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, StringConstraints

from crm_platform.auth import Actor, Role, require
from crm_platform.errors import NotFound
from crm_platform.http.connected import connected
from crm_platform.logging import get_logger
from crm_platform.parking import ParkingLot, not_parked

log = get_logger(__name__)

Administrator = Annotated[Actor, Depends(require(Role.ADMIN))]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=500)]


class Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


router = APIRouter(prefix="/parked", tags=["parked events"])


class ParkedKeyView(Body):
    """A key whose events wait; the members from `position` on tell of the first of them."""

    consumer: str
    topic: str
    partition: int
    key: str
    events: int
    position: int | None
    event_id: str | None
    event_type: str | None
    reason: str | None
    parked_at: str


class ParkedKeys(Body):
    items: list[ParkedKeyView]


class ParkedEventView(Body):
    """`record` is the event as it was read, its personal data sealed; `raw` is base64 of one that is not JSON."""

    offset: int
    position: int | None
    event_id: str | None
    event_type: str | None
    parked_at: str
    reason: str | None
    record: Any
    raw: str | None


class ParkedEvents(Body):
    consumer: str
    topic: str
    key: str
    events: list[ParkedEventView]


class RetryOutcome(Body):
    """`reason` is why the first of the remaining events cannot be applied."""

    applied: int
    remaining: int
    reason: str | None


class DiscardDecision(Body):
    """Without `all`, only the first event is given up: the one that cannot be applied."""

    reason: Reason
    all: bool = False


class DiscardOutcome(Body):
    discarded: int
    remaining: int


def _lots(request: Request) -> Mapping[str, ParkingLot]:
    lots: Mapping[str, ParkingLot] = connected(request.app.state.parking_lots)
    return lots


def _lot(request: Request, consumer: str) -> ParkingLot:
    lots = _lots(request)
    if consumer not in lots:
        raise NotFound(f"No consumer is called {consumer!r} here: there are {', '.join(sorted(lots))}.")
    return lots[consumer]


@router.get("")
async def list_parked(request: Request, _: Administrator) -> ParkedKeys:
    """The parked keys of all consumers, the longest parked first."""
    keys = [key.shown(name) for name, lot in _lots(request).items() for key in await lot.keys()]
    return ParkedKeys(items=[ParkedKeyView(**key) for key in sorted(keys, key=lambda key: str(key["parked_at"]))])


@router.get("/{consumer}/{topic}/{key:path}")
async def show_parked(request: Request, consumer: str, topic: str, key: str, _: Administrator) -> ParkedEvents:
    """What waits of one key, in order."""
    events = await _lot(request, consumer).events(topic, key)
    if not events:
        raise not_parked(consumer, topic, key)
    shown = [ParkedEventView(**event.shown()) for event in events]
    return ParkedEvents(consumer=consumer, topic=topic, key=key, events=shown)


@router.post("/{consumer}/{topic}/{key:path}/retry")
async def retry_parked(request: Request, consumer: str, topic: str, key: str, actor: Administrator) -> RetryOutcome:
    """Apply what waits, in order, until all is applied or one cannot be."""
    done = await _lot(request, consumer).retry(topic, key)
    log.info("parked_retried", consumer=consumer, key=key, actor=actor.subject, applied=done.applied)
    return RetryOutcome(applied=done.applied, remaining=done.remaining, reason=done.reason)


@router.post("/{consumer}/{topic}/{key:path}/discard")
async def discard_parked(
    request: Request, consumer: str, topic: str, key: str, decision: DiscardDecision, actor: Administrator
) -> DiscardOutcome:
    """Give up the first event, or all; who decided it and why is kept with what was given up."""
    done = await _lot(request, consumer).discard(
        topic, key, actor=actor.subject, reason=decision.reason, everything=decision.all
    )
    log.warning("parked_discarded", consumer=consumer, key=key, actor=actor.subject, discarded=done.discarded)
    return DiscardOutcome(discarded=done.discarded, remaining=done.remaining)
