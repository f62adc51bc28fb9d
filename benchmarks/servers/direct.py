"""The event store of the sales service, given commands by coroutines of its own process: HTTP only says when."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import uuid4

from fastapi import APIRouter, FastAPI, Request
from pydantic import BaseModel

from benchmarks import parts
from benchmarks.clients import Answered, Tally, numbered
from crm_platform.command import Order
from crm_platform.event_store.store import CommandStore
from crm_platform.health import Health
from crm_platform.http.app import create_app
from crm_platform.logging import configure_logging
from crm_platform.server import run, serve
from crm_platform.service import EventStoreDefinition
from crm_sales.application import capture_lead
from crm_sales.commands import CaptureLead
from crm_sales.settings import SalesSettings

router = APIRouter()


class Task(BaseModel):
    """What to do: leads from this body, as a client would send it, given by so many coroutines for so long."""

    lead: str
    warm_up: float
    seconds: float
    coroutines: int


@router.post("/give")
async def give(task: Task, request: Request) -> Answered:
    """Each coroutine gives a command, waits until it is stored, and gives the next."""
    tally, bodies = Tally(task.warm_up, task.seconds), numbered(task.lead.encode())
    async with asyncio.TaskGroup() as givers:
        for _ in range(task.coroutines):
            givers.create_task(_give(request.app.state.store, bodies, tally))
    return tally.answered()


async def _give(store: CommandStore, bodies: Iterator[bytes], tally: Tally) -> None:
    going_on = True
    while going_on:
        await store.run(capture_lead, CaptureLead.model_validate_json(next(bodies)), _order())
        going_on = tally.done()


def _order() -> Order:
    """As the service makes one of a request that brings no key."""
    id_ = uuid4()
    return Order(id_, "benchmark", id_, datetime.now(UTC), correlation=uuid4().hex)


@asynccontextmanager
async def _store_opened(app: FastAPI) -> AsyncIterator[None]:
    async with parts.command_store(SalesSettings(), EventStoreDefinition("sales")) as store:
        app.state.store = store
        yield


def main() -> None:
    settings = SalesSettings()
    configure_logging("sales", "benchmark", settings.log_level)
    health = Health()
    app = create_app("sales", settings, (router,), health, lifespan=_store_opened)
    run(serve(app, settings.host, settings.port, health=health))


if __name__ == "__main__":
    main()
