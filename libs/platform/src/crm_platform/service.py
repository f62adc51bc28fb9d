"""A service by its parts: its events, policies, read models and routes, declared in one place."""

import argparse
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from starlette.middleware import Middleware

from crm_events.event import Event
from crm_events.topics import TOPICS, Topic, context_topic
from crm_platform import rewrapping_job as rewrapping
from crm_platform.erasure.destroy_keys import DestroyKeys
from crm_platform.erasure.ordered_erasures import OrderedErasures
from crm_platform.erasure.steps import Eraser
from crm_platform.event_chain import job as chain
from crm_platform.event_store.lookup import FoundBy
from crm_platform.http.app import release
from crm_platform.logging import configure_logging
from crm_platform.policy import Policy
from crm_platform.process import Process
from crm_platform.projection import Projection
from crm_platform.purge import Purged
from crm_platform.rebuild.job import JOBS, add_jobs, run_job
from crm_platform.runner import Runner
from crm_platform.server import run
from crm_platform.settings import ServiceSettings
from crm_platform.tracing import configure_tracing, stop_tracing

if TYPE_CHECKING:
    from crm_platform.parts import Parts

ROLES = {
    "api": "answer HTTP",
    "worker": "relay, project and react",
    "all": "do both in one process",
}


@dataclass(frozen=True, slots=True)
class EventStoreDefinition:
    """The events that a service stores: its context's published ones and its private ones.

    `found_by` says which of them are looked up by a member.
    """

    context: str
    private: tuple[type[Event], ...] = ()
    found_by: tuple[FoundBy, ...] = ()

    @property
    def topic(self) -> Topic:
        return next(topic for topic in TOPICS if topic.name == context_topic(self.context))


@dataclass(slots=True)
class Service:
    """A service by its parts. `api` answers HTTP, `worker` relays, projects and reacts, `all` does both in one process.

    `runners` run in the worker; `api_runners` and `middleware` wherever HTTP is answered. `purges` are topics of others
    whose records are deleted once a policy has taken them in. `made_runners` run in the worker, too, and `erasers`
    delete what the service keeps of a person outside read models; both are made from what the process has opened.
    """

    name: str
    settings: ServiceSettings
    events: EventStoreDefinition | None = None
    policies: Sequence[Policy] = ()
    projections: Sequence[Projection] = ()
    routers: Sequence[APIRouter] = ()
    runners: Sequence[Runner] = ()
    api_runners: Sequence[Runner] = ()
    middleware: Sequence[Middleware] = ()
    purges: Sequence[Purged] = ()
    made_runners: Sequence[Callable[["Parts"], Runner]] = ()
    erasers: Sequence[Callable[["Parts"], Eraser]] = ()

    @property
    def keeps_personal_data(self) -> bool:
        """Whether there is anything here that an erasure has to reach."""
        return self.events is not None or bool(self.projections)

    @property
    def read_models(self) -> tuple[Projection, ...]:
        """Its projections, and the one that every service has."""
        return (*self.projections, *((OrderedErasures(self.name),) if self.keeps_personal_data else ()))

    @property
    def reactions(self) -> tuple[Policy, ...]:
        """Its policies, and the one that every service with an event store has."""
        return (*self.policies, *((DestroyKeys(self.name),) if self.events is not None else ()))

    def main(self, arguments: Sequence[str] | None = None) -> None:
        """Run in the role that the command line names: until SIGTERM, or to the end of a job."""
        asked = self._parser().parse_args(sys.argv[1:] if arguments is None else arguments)
        configure_logging(self.name, release(), self.settings.log_level)
        if asked.role == chain.ROLE:
            log = self.events.topic.name if self.events else None
            sys.exit(chain.verify_chain(log, self.settings, asked.kept))
        configure_tracing(self.name, release(), self.settings)
        try:
            run(self._work(asked))
        finally:
            stop_tracing()

    def _parser(self) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(prog=f"python -m crm_{self.name}")
        roles = parser.add_subparsers(dest="role", required=True, metavar="ROLE")
        for role, does in ROLES.items():
            roles.add_parser(role, help=does)
        add_jobs(roles)
        chain.add_verify_chain(roles)
        rewrapping.add_rewrap_keys(roles)
        return parser

    def _work(self, asked: argparse.Namespace) -> Coroutine[Any, Any, None]:
        if asked.role in JOBS:
            return run_job(asked, self.settings, self.name, self.read_models)
        if asked.role == rewrapping.ROLE:
            context = self.events.context if self.events else None
            return rewrapping.rewrap_keys(self.settings, self.name, context, check=asked.check)
        return Process(self, answers=asked.role in ("api", "all"), works=asked.role in ("worker", "all")).run()
