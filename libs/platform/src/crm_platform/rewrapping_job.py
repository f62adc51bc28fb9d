"""`python -m crm_<service> rewrap-keys`: wraps the service's keys with the present key, beside the running service."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from eventsourcing.persistence import PersistenceError

from crm_events import REGISTRY
from crm_platform import kafka, mongo
from crm_platform.event_store.application import EventStore
from crm_platform.event_store.key_ledger import KeyLedger
from crm_platform.logging import get_logger
from crm_platform.rebuild.report import JsonLines
from crm_platform.rewrapping import Left, Rewrapping
from crm_platform.sealing import SealBrokenError
from crm_platform.settings import ServiceSettings

ROLE = "rewrap-keys"

log = get_logger(__name__)


def add_rewrap_keys(roles: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The command line of the job."""
    role = roles.add_parser(ROLE, help="wrap all subject keys with the installation's present key")
    role.add_argument("--check", action="store_true", help="only count those that another key has wrapped")


async def rewrap_keys(settings: ServiceSettings, service: str, context: str | None, *, check: bool) -> None:
    """Rewrap, or only count; `context` is that of the service's own events, None where it stores none.

    Told in lines of JSON. Ends the process with 1 where keys are left, or where it cannot be done.
    """
    report = JsonLines()
    try:
        async with _rewrapping(settings, service, context) as (rewrapping, keys):
            if not check:
                await _rewrapped(rewrapping, settings, context or "", keys, report)
            left = await rewrapping.left()
    except SealBrokenError as broken:
        report.tell("refused", why=str(broken))
        sys.exit(1)
    except (*kafka.TRANSIENT, mongo.MongoError, PersistenceError) as away:
        log.error("job_interrupted", exc_info=away)
        why = f"Kafka, MongoDB or PostgreSQL does not answer ({type(away).__name__}); call it again to go on"
        report.tell("refused", why=why)
        sys.exit(1)
    _tell(report, left)


def _tell(report: JsonLines, left: Left) -> None:
    report.tell("left", **left._asdict())
    if left.stored or left.ring:
        sys.exit(1)


async def _rewrapped(
    rewrapping: Rewrapping, settings: ServiceSettings, owner: str, keys: int, report: JsonLines
) -> None:
    async with kafka.producer(settings.kafka_bootstrap) as producer:
        await rewrapping.stored_keys(producer, owner, lambda done: report.progress("rewrapping", done, keys))
        await rewrapping.marks(producer)
    await rewrapping.ring()


@asynccontextmanager
async def _rewrapping(
    settings: ServiceSettings, service: str, context: str | None
) -> AsyncIterator[tuple[Rewrapping, int]]:
    """What rewraps, and how many subjects of the service have keys."""
    client = mongo.connect(settings.mongodb_uri.get_secret_value())
    store = None if context is None else await asyncio.to_thread(EventStore, settings.event_store_uri(), REGISTRY)
    ledger = None if store is None else KeyLedger(store.store)
    try:
        keys = 0 if ledger is None else await asyncio.to_thread(ledger.count)
        yield Rewrapping(settings.installation(), mongo.database(client, settings.database(service)), ledger), keys
    finally:
        if store is not None:
            await asyncio.to_thread(store.close)
        client.close()
