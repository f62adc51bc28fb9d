"""A service process: what is named here is connected, started, watched and stopped in order."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, runtime_checkable

from eventsourcing.persistence import PersistenceError
from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware

from crm_events import REGISTRY
from crm_events.event import Event
from crm_events.topics import TOPICS, Topic, context_topic
from crm_platform import mongo
from crm_platform.authenticity import Authenticator
from crm_platform.backoff import Backoff
from crm_platform.event_store.application import EventStore
from crm_platform.event_store.committer import Committer
from crm_platform.event_store.recorder import Recorder
from crm_platform.event_store.store import CommandStore
from crm_platform.event_store.subject_keys import SubjectKeys
from crm_platform.health import Condition, Health
from crm_platform.http import parked
from crm_platform.http.app import create_app, release
from crm_platform.key_pool import KafkaKeyPool
from crm_platform.keyring import Keyring, KeyringFiller
from crm_platform.logging import configure_logging, get_logger
from crm_platform.parking import ParkingLot
from crm_platform.policy import Policy
from crm_platform.policy_parking import PolicyParking
from crm_platform.policy_runner import PolicyRunner
from crm_platform.projection import Projection
from crm_platform.projection_parking import ProjectionParking
from crm_platform.projector import Projector
from crm_platform.reactions import Reactions
from crm_platform.read_model import ReadModel
from crm_platform.relay import Relay
from crm_platform.sealing import InstallationKey
from crm_platform.server import run, serve
from crm_platform.settings import ServiceSettings
from crm_platform.tracing import configure_tracing, stop_tracing
from crm_platform.wakeup import Wakeup

ROLES = ("api", "worker", "all")
RUNNERS_STOP_SECONDS = 9.0
"""Longer than a runner takes to finish its batch and to leave Kafka, also where Kafka does not answer."""

log = get_logger(__name__)


@runtime_checkable
class Runner(Protocol):
    """Something that runs as long as the process does. `run` ends only by being cancelled: then it finishes its batch.

    It is `ready` once it has caught up, and counts as ready from then on; it is `alive` while it makes progress.
    """

    name: str

    @property
    def ready(self) -> bool: ...

    @property
    def alive(self) -> bool: ...

    async def run(self) -> None: ...


@dataclass(frozen=True, slots=True)
class EventStoreDefinition:
    """The events that a service stores: its context's published ones and its private ones."""

    context: str
    private: tuple[type[Event], ...] = ()

    @property
    def topic(self) -> Topic:
        return next(topic for topic in TOPICS if topic.name == context_topic(self.context))


@dataclass(slots=True)
class Service:
    """A service by its parts. `api` answers HTTP, `worker` relays, projects and reacts, `all` does both in one process.

    `runners` run in the worker; `api_runners` and `middleware` wherever HTTP is answered.
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

    def main(self, arguments: Sequence[str] | None = None) -> None:
        """Run in the role that the command line names, until SIGTERM."""
        parser = argparse.ArgumentParser(prog=f"python -m crm_{self.name}", description=self.__doc__)
        parser.add_argument("role", choices=ROLES, help="api answers HTTP, worker relays and projects, all does both")
        role = parser.parse_args(sys.argv[1:] if arguments is None else arguments).role
        configure_logging(self.name, release(), self.settings.log_level)
        configure_tracing(self.name, release(), self.settings)
        try:
            run(_Process(self, role).run())
        finally:
            stop_tracing()


class _Process:
    """One service in one role."""

    def __init__(self, service: Service, role: str) -> None:
        self._service = service
        self._settings = service.settings
        self._answers = role in ("api", "all")
        self._works = role in ("worker", "all")
        self._health = Health()
        self._connected = Condition("connections")
        self._health.add(self._connected)

    async def run(self) -> None:
        app = create_app(
            self._service.name,
            self._settings,
            (*self._service.routers, parked.router) if self._answers else (),
            self._health,
            lifespan=self._lifespan,
            middleware=self._service.middleware if self._answers else (),
        )
        await serve(
            app,
            self._settings.host,
            self._settings.port,
            health=self._health,
            drain_seconds=self._settings.drain_seconds,
            shutdown_seconds=self._settings.shutdown_seconds,
        )

    @asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Probes answer at once; what the process needs is connected behind them, however long that takes."""
        starting = asyncio.create_task(self._start(app), name="start")
        try:
            yield
        finally:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)

    async def _start(self, app: FastAPI) -> None:
        """Connect and run the parts until cancelled. One that fails for good ends them all, and liveness tells.

        They end in order: what reads finishes its batch while it can still be stored and sealed, then the rest.
        """
        client = mongo.connect(self._settings.mongodb_uri.get_secret_value())
        parts = _Parts(self._service, client)
        try:
            async with asyncio.TaskGroup() as tasks:
                app.state.read_models = parts.read_models
                app.state.parking_lots = parts.parking_lots
                if self._service.events is not None:
                    store = await parts.open_event_store(self._service.events)
                    app.state.store = store
                    self._health.add(_StoreHealth(store))
                readers = parts.readers() if self._works else []
                others = parts.others(answers=self._answers, works=self._works)
                running = [[self._run(runner, tasks) for runner in stage] for stage in (others, readers)]
                self._connected.ready = True
                log.info("started", parts=[runner.name for runner in (*others, *readers)])
                try:
                    await asyncio.Event().wait()
                finally:
                    for stage in reversed(running):
                        await _ended(stage)
        except* Exception as group:
            self._connected.alive = False
            log.error("part_failed", exc_info=group.exceptions[0])
        finally:
            await parts.close()
            client.close()

    def _run(self, runner: Runner, tasks: asyncio.TaskGroup) -> asyncio.Task[None]:
        self._health.add(runner)
        return tasks.create_task(_watched(runner), name=runner.name)


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel these tasks and wait until they have ended; one that takes too long is left to those who come after."""
    for task in tasks:
        task.cancel()
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=RUNNERS_STOP_SECONDS)
        if late:
            log.warning("stopping_late", parts=[task.get_name() for task in late])


async def _watched(runner: Runner) -> None:
    try:
        await runner.run()
    except Exception as failure:
        log.error("runner_failed", runner=runner.name, exc_info=failure)
        raise


class _StoreHealth:
    name = "event-store-writer"
    ready = True

    def __init__(self, store: CommandStore) -> None:
        self._store = store

    @property
    def alive(self) -> bool:
        return self._store.alive


class _Parts:
    """What a service process is made of, wired."""

    def __init__(self, service: Service, client: mongo.Client) -> None:
        settings = service.settings
        self._service = service
        self._settings = settings
        self._bootstrap = settings.kafka_bootstrap
        self._database = mongo.database(client, settings.database(service.name))
        self._installation = InstallationKey(settings.installation_key.get_secret_value())
        self._authenticator = Authenticator(self._installation)
        filler = f"{service.name}.keyring"
        self._keys_applied = Wakeup()
        self._keyring = Keyring(self._database, self._installation, self._bootstrap, filler, self._keys_applied)
        self._filler = KeyringFiller(
            filler, self._database, self._keyring, self._bootstrap, settings.instance, self._keys_applied
        )
        self._applied = {type(p): Wakeup() for p in service.projections}
        self.read_models = {
            type(p): ReadModel(p, self._database, self._keyring, self._applied[type(p)]) for p in service.projections
        }
        self.parking_lots: dict[str, ParkingLot] = {
            projection.identity: ProjectionParking(
                projection, REGISTRY, self._database, self._authenticator, self._applied[type(projection)]
            )
            for projection in service.projections
        }
        self._policy_runners: list[Runner] = []
        self._relays: list[Runner] = []
        self._key_pools: list[Runner] = []
        self._event_store: EventStore | None = None
        self._command_store: CommandStore | None = None

    async def open_event_store(self, definition: EventStoreDefinition) -> CommandStore:
        """Open the store, waiting for the database where it is away."""
        settings, topic = self._settings, definition.topic
        registry = REGISTRY.with_events(definition.private)
        uri = settings.event_store_uri()
        backoff = Backoff()
        while self._event_store is None:
            try:
                self._event_store = await asyncio.to_thread(EventStore, uri, registry)
            except PersistenceError as away:
                log.warning("event_store_away", exc_info=away)
                await backoff.wait()
        pool = KafkaKeyPool(self._bootstrap, self._installation, definition.context)
        keys = SubjectKeys(self._event_store.store, self._installation, pool)
        committer = Committer(self._event_store, keys, topic)
        self._command_store = CommandStore(committer)
        self._command_store.start()
        self._key_pools = [pool]
        self._relays = [Relay(self._event_store, uri, self._bootstrap, topic, self._authenticator)]
        for policy in self._service.policies:
            self._add_policy(policy, self._event_store.store, committer, self._command_store)
        return self._command_store

    def _add_policy(self, policy: Policy, recorder: Recorder, committer: Committer, store: CommandStore) -> None:
        reactions = Reactions(policy, committer, self._keyring, lambda: datetime.now(UTC))
        self.parking_lots[policy.name] = PolicyParking(
            policy, REGISTRY, recorder, reactions, store, self._authenticator
        )
        self._policy_runners.append(
            PolicyRunner(
                policy,
                REGISTRY,
                recorder,
                reactions,
                store,
                self._authenticator,
                self._bootstrap,
                self._settings.instance,
            )
        )

    def readers(self) -> list[Runner]:
        """What reads Kafka, in the worker; it stands on the others."""
        return [self._filler, *self._policy_runners, *self._projectors(), *self._service.runners]

    def others(self, *, answers: bool, works: bool) -> list[Runner]:
        """What the readers and the routes stand on."""
        api_runners = self._service.api_runners if answers else ()
        return [*self._key_pools, *(self._relays if works else ()), *api_runners]

    def _projectors(self) -> list[Runner]:
        return [
            Projector(
                projection,
                REGISTRY,
                self._database,
                self._authenticator,
                self._bootstrap,
                self._settings.instance,
                self._applied[type(projection)],
            )
            for projection in self._service.projections
        ]

    async def close(self) -> None:
        """Let the writer finish, then let go of the database."""
        if self._command_store is not None:
            await self._command_store.stop()
        if self._event_store is not None:
            await asyncio.to_thread(self._event_store.close)


__all__ = ["EventStoreDefinition", "Runner", "Service"]
