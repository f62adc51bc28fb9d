"""`python -m crm_<service> rebuild|verify READMODEL`: jobs beside the running service, told in lines of JSON."""

import argparse
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from crm_events import REGISTRY
from crm_platform import kafka, mongo
from crm_platform.authenticity import Authenticator
from crm_platform.logging import get_logger
from crm_platform.projection import Projection
from crm_platform.rebuild.rebuilding import Rebuilding, Site
from crm_platform.rebuild.refusals import RebuildRefusedError
from crm_platform.rebuild.report import JsonLines
from crm_platform.settings import ServiceSettings

log = get_logger(__name__)

JOBS = ("rebuild", "verify")
_Step = Callable[[Rebuilding], Awaitable[int]]


def add_jobs(roles: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The command line of the jobs."""
    rebuild = roles.add_parser("rebuild", help="fill a read model anew beside the live one, compare, and switch")
    rebuild.add_argument("read_model", help="such as sales.leads")
    how = rebuild.add_mutually_exclusive_group()
    how.add_argument("--rollback", action="store_true", help="go back to the generation before the live one")
    how.add_argument("--drop", action="store_true", help="drop the generation before the live one")
    how.add_argument("--abandon", action="store_true", help="drop what is half filled")
    how.add_argument("--accept-differences", action="store_true", help="switch although the two differ")
    verify = roles.add_parser("verify", help="compare a read model with an independent fold of the log")
    verify.add_argument("read_model", help="such as sales.leads")


async def run_job(
    asked: argparse.Namespace, settings: ServiceSettings, service: str, projections: Sequence[Projection]
) -> None:
    """Do what the command line asks for. Ends the process with 1, and a line that says why, where it cannot be done."""
    report = JsonLines()
    try:
        projection = _named(asked.read_model, projections)
        async with _database(settings, service) as database:
            authenticator = Authenticator(settings.installation())
            site = Site(projection, database, REGISTRY, authenticator, settings.kafka_bootstrap)
            differences = await _step(asked)(Rebuilding(site, report))
    except RebuildRefusedError as refusal:
        report.tell("refused", why=str(refusal))
        sys.exit(1)
    except (*kafka.TRANSIENT, mongo.MongoError) as away:
        log.error("job_interrupted", exc_info=away)
        report.tell("refused", why=f"Kafka or MongoDB does not answer ({type(away).__name__}); call it again to go on")
        sys.exit(1)
    if differences:
        sys.exit(1)


def _named(name: str, projections: Sequence[Projection]) -> Projection:
    for projection in projections:
        if name in (projection.name, projection.identity):
            return projection
    known = ", ".join(projection.name for projection in projections) or "none"
    raise RebuildRefusedError(f"{name} is no read model of this service; it has {known}")


def _step(asked: argparse.Namespace) -> _Step:
    if asked.role == "verify":
        return Rebuilding.verify
    if asked.rollback:
        return _silently(Rebuilding.rollback)
    if asked.drop:
        return _silently(Rebuilding.drop)
    if asked.abandon:
        return _silently(Rebuilding.abandon)
    return _silently(lambda rebuilding: rebuilding.rebuild(accept_differences=asked.accept_differences))


def _silently(step: Callable[[Rebuilding], Awaitable[None]]) -> _Step:
    async def done(rebuilding: Rebuilding) -> int:
        await step(rebuilding)
        return 0

    return done


@asynccontextmanager
async def _database(settings: ServiceSettings, service: str) -> AsyncIterator[mongo.Database]:
    client = mongo.connect(settings.mongodb_uri.get_secret_value())
    try:
        yield mongo.database(client, settings.database(service))
    finally:
        client.close()
