"""What a service process is made of, wired together."""

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from eventsourcing.persistence import PersistenceError

from crm_events import REGISTRY
from crm_platform import mongo
from crm_platform.authenticity import Authenticator
from crm_platform.backoff import Backoff
from crm_platform.destroyed_keys_watch import DestroyedKeysWatch
from crm_platform.erasure.caught_up import Followed, FollowedPolicy, FollowedReadModel
from crm_platform.erasure.erasure_log import ErasureLog
from crm_platform.erasure.ordered_erasures import OrderedErasures
from crm_platform.erasure.steps import ErasureSteps
from crm_platform.event_chain.checkpoint import CheckpointKeys
from crm_platform.event_chain.signer import Signer
from crm_platform.event_store.application import EventStore
from crm_platform.event_store.committer import Committer
from crm_platform.event_store.key_ledger import KeyLedger
from crm_platform.event_store.recorder import Recorder
from crm_platform.event_store.store import CommandStore
from crm_platform.event_store.subject_keys import SubjectKeys
from crm_platform.key_pool import KafkaKeyPool
from crm_platform.key_publisher import KeyPublisher
from crm_platform.key_records import KeyRecords
from crm_platform.keyring import Keyring, KeyringFiller
from crm_platform.live_read_model import LiveReadModel
from crm_platform.logging import get_logger
from crm_platform.parking import ParkingLot
from crm_platform.policy import Policy
from crm_platform.policy_parking import PolicyParking
from crm_platform.policy_runner import PolicyRunner
from crm_platform.policy_store import PolicyStore
from crm_platform.projection_parking import ProjectionParking
from crm_platform.projector import Projector
from crm_platform.purge import Purge
from crm_platform.reactions import Reactions
from crm_platform.relay import Relay
from crm_platform.runner import Runner
from crm_platform.wakeup import Wakeup

if TYPE_CHECKING:
    from crm_platform.service import EventStoreDefinition, Service

log = get_logger(__name__)


class Parts:
    """The parts of one service, over one connection to MongoDB."""

    def __init__(self, service: "Service", client: mongo.Client) -> None:
        settings = service.settings
        self._service = service
        self._settings = settings
        self._bootstrap = settings.kafka_bootstrap
        self._database = mongo.database(client, settings.database(service.name))
        self._installation = settings.installation()
        self._authenticator = Authenticator(self._installation)
        filler = f"{service.name}.keyring"
        self._keys_applied = Wakeup()
        self._keyring = Keyring(self._database, self._installation, self._bootstrap, filler, self._keys_applied)
        self._filler = KeyringFiller(
            filler, self._database, self._keyring, self._bootstrap, settings.instance, self._keys_applied
        )
        self._projections, self._policies = service.read_models, service.reactions
        self._applied = {type(p): Wakeup() for p in self._projections}
        self.read_models = {
            type(p): LiveReadModel(p, self._database, REGISTRY, self._keyring, self._applied[type(p)])
            for p in self._projections
        }
        self.parking_lots: dict[str, ParkingLot] = {
            projection.identity: ProjectionParking(
                projection, REGISTRY, self._database, self._authenticator, self._applied[type(projection)]
            )
            for projection in self._projections
        }
        self.erasure_log = ErasureLog(service.name, self._bootstrap, self._authenticator)
        self._watch = DestroyedKeysWatch(self._database, self._keyring, None)
        if service.keeps_personal_data:
            self._keyring.hold()
        self.purges: dict[str, Purge] = {}
        self.policy_parking: dict[str, PolicyParking] = {}
        self._policy_runners: list[Runner] = []
        self._relays: list[Runner] = []
        self._signers: list[Runner] = []
        self._key_pools: list[Runner] = []
        self._ledger: KeyLedger | None = None
        self._event_store: EventStore | None = None
        self._command_store: CommandStore | None = None

    async def open_event_store(self, definition: "EventStoreDefinition") -> CommandStore:
        """Open the store, waiting for the database where it is away."""
        settings, topic = self._settings, definition.topic
        registry = REGISTRY.with_events(definition.private)
        uri = settings.event_store_uri()
        backoff = Backoff()
        while self._event_store is None:
            try:
                self._event_store = await asyncio.to_thread(EventStore, uri, registry, definition.found_by)
            except PersistenceError as away:
                log.warning("event_store_away", exc_info=away)
                await backoff.wait()
        pool = KafkaKeyPool(self._bootstrap, self._installation, definition.context)
        keys = SubjectKeys(self._event_store.store, self._installation, pool)
        keys.hold()
        ledger = self._ledger = KeyLedger(self._event_store.store)
        self._watch = DestroyedKeysWatch(self._database, self._keyring, (keys, ledger))
        committer = Committer(self._event_store, keys, topic)
        self._command_store = CommandStore(committer)
        self._command_store.start()
        self._key_pools = [pool]
        self._relays = [
            Relay(self._event_store, uri, self._bootstrap, topic, self._authenticator),
            KeyPublisher(
                ledger,
                keys,
                self._bootstrap,
                definition.context,
                KeyRecords(self._installation),
                self._authenticator,
            ),
        ]
        checkpoint_keys = CheckpointKeys.of(self._installation)
        self._signers = [Signer(self._event_store.store, topic.name, checkpoint_keys, settings.checkpoint_seconds)]
        self.purges = {
            purged.topic.name: Purge(purged, self._event_store.store, self._bootstrap, settings.purge_seconds)
            for purged in self._service.purges
        }
        for policy in self._policies:
            self._add_policy(policy, self._event_store.store, committer, self._command_store)
        return self._command_store

    def _add_policy(self, policy: Policy, recorder: Recorder, committer: Committer, store: CommandStore) -> None:
        reactions = Reactions(policy, committer, self._keyring, lambda: datetime.now(UTC))
        parking = PolicyParking(policy, REGISTRY, recorder, reactions, store, self._authenticator)
        self.parking_lots[policy.name] = self.policy_parking[policy.name] = parking
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
        made = [make(self) for make in self._service.made_runners]
        return [
            self._filler,
            *self._policy_runners,
            *self._projectors(),
            *self.purges.values(),
            *self._erasure_steps(),
            *self._service.runners,
            *made,
        ]

    @property
    def event_store(self) -> EventStore:
        """The open store; asked for by what belongs to a service that has one."""
        assert self._event_store is not None  # noqa: S101 - it is opened before anything is made from the parts
        return self._event_store

    def _erasure_steps(self) -> list[Runner]:
        if not self._service.keeps_personal_data:
            return []
        return [
            ErasureSteps(
                self._service.name,
                self.read_models[OrderedErasures],
                self._applied[OrderedErasures],
                self._followed(),
                self._keyring,
                self._ledger,
                [make(self) for make in self._service.erasers],
                self.erasure_log,
                self._bootstrap,
            )
        ]

    def _followed(self) -> list[Followed]:
        """What has to be so far before a step of an erasure is taken."""
        read_models = [FollowedReadModel(p.topics, self.read_models[type(p)]) for p in self._projections]
        if self._event_store is None:
            return [*read_models]
        recorder = self._event_store.store
        policies = [FollowedPolicy(policy.topics, PolicyStore(policy.name, recorder)) for policy in self._policies]
        return [*read_models, *policies]

    def others(self, *, answers: bool, works: bool) -> list[Runner]:
        """What the readers and the routes stand on."""
        api_runners = self._service.api_runners if answers else ()
        watch = [self._watch] if self._service.keeps_personal_data else []
        return [*self._key_pools, *watch, *((*self._relays, *self._signers) if works else ()), *api_runners]

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
            for projection in self._projections
        ]

    async def close(self) -> None:
        """Let the writer finish, then let go of the database."""
        if self._command_store is not None:
            await self._command_store.stop()
        if self._event_store is not None:
            await asyncio.to_thread(self._event_store.close)
