"""One trace from a request through the event store and Kafka to the read model, and on through a policy's reaction."""

from collections.abc import AsyncIterator, Iterable
from typing import Annotated, Any, ClassVar
from uuid import UUID, uuid4

import aiohttp
import orjson
import pytest
import pytest_asyncio
from fastapi import APIRouter, Depends
from libs.platform.tests.http.conftest import Issuer
from libs.platform.tests.kafka_topics import records_of, recreate_topic
from libs.platform.tests.purchases import PurchaseRow, purchases_of
from libs.platform.tests.served import served
from libs.platform.tests.shop import EVENTS, NotePurchase, Purchase, PurchaseNoted, note_purchase
from libs.platform.tests.shop_store import Shop
from libs.platform.tests.spans import Spans, own_id, parent_id, trace_of, traced
from libs.platform.tests.waiting import eventually, running
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from crm_events.envelope import Recorded
from crm_events.topics import Topic
from crm_platform import kafka, mongo
from crm_platform.auth import Role
from crm_platform.authenticity import Authenticator
from crm_platform.generations import Generation
from crm_platform.health import Health
from crm_platform.http.app import create_app
from crm_platform.http.commands import CommandSender, Written, command_sender, names_one
from crm_platform.keyring import Keyring
from crm_platform.policy import Policy, when
from crm_platform.policy_runner import PolicyRunner
from crm_platform.projection import Projection
from crm_platform.projector import Projector
from crm_platform.reactions import Reactions
from crm_platform.relay import Relay
from crm_platform.sealing import InstallationKey
from crm_platform.settings import ServiceSettings
from crm_platform.testing import SOME_TIME, story_id
from crm_platform.wakeup import Wakeup
from crm_platform.work import UnitOfWork

pytestmark = pytest.mark.integration

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CONTEXT = f"00-{TRACE}-{CALLER}-01"
TWIN = story_id("twin")
NAME = "Ada Lovelace"

router = APIRouter()


@router.post("/purchases/{id}/notes", dependencies=[Depends(names_one)])
async def note(command: NotePurchase, send: Annotated[CommandSender, Depends(command_sender(Role.SALES))]) -> Written:
    return await send(note_purchase, command)


def keep_twin(called: str, topic: Topic) -> Policy:
    """The policy of that name: what is noted on any other purchase is noted on the twin, too."""

    class KeepTwin(Policy):
        name = called
        topics: ClassVar[tuple[Topic, ...]] = (topic,)

        @when(PurchaseNoted)
        def noted(self, event: Recorded[PurchaseNoted], work: UnitOfWork) -> None:
            if event.subject != TWIN:
                twin = work.load(Purchase, TWIN)
                twin.note(event.data.text)
                work.save(twin)

    return KeepTwin()


class Story:
    """The shop with its door, its relay, its read model and its policy, all in one process."""

    def __init__(
        self,
        shop: Shop,
        topic: Topic,
        database: mongo.Database,
        bootstrap: str,
        token: str,
        installation: InstallationKey,
    ) -> None:
        self.shop = shop
        self.topic = topic
        self.projection = purchases_of(topic)
        self._database = database
        self._bootstrap = bootstrap
        self._token = token
        self._installation = installation
        self._authenticator = Authenticator(installation)

    def relay(self) -> Relay:
        return Relay(self.shop.events, self.shop.uri, self._bootstrap, self.topic, self._authenticator)

    def projector(self, projection: Projection) -> Projector:
        return Projector(projection, EVENTS, self._database, self._authenticator, self._bootstrap, "0", Wakeup())

    def policy(self, name: str) -> PolicyRunner:
        policy = keep_twin(name, self.topic)
        keyring = Keyring(self._database, self._installation, self._bootstrap, "none", Wakeup())
        shop = self.shop
        reactions = Reactions(policy, shop.committer, keyring, lambda: SOME_TIME)
        return PolicyRunner(
            policy, EVENTS, shop.events.store, reactions, shop.store, self._authenticator, self._bootstrap, "0"
        )

    async def note(self, purchase: UUID, text: str, context: str | None = CONTEXT) -> None:
        """Over HTTP, as a client that traces does it."""
        app = create_app("shop", ServiceSettings(), (router,), Health())
        app.state.store = self.shop.store
        headers = {"Authorization": f"Bearer {self._token}"} | ({"traceparent": context} if context else {})
        async with (
            served(app) as url,
            aiohttp.ClientSession(headers=headers) as client,
            client.post(f"{url}/purchases/{purchase}/notes", json={"text": text}) as answer,
        ):
            assert answer.status == 200, await answer.text()

    def documents(self) -> list[dict[str, Any]]:
        return [orjson.loads(row["state"]) for row in self.shop.stored()]

    async def rows(self, projection: Projection) -> int:
        return await self._database[Generation(projection).collection_name(PurchaseRow)].count_documents({})

    async def published_contexts(self) -> list[str | None]:
        return [kafka.header(r.headers, "traceparent") for r in await records_of(self._bootstrap, self.topic)]


@pytest_asyncio.fixture
async def story(
    shop: Shop,
    topic: Topic,
    database: mongo.Database,
    bootstrap: str,
    issuer: Issuer,
    installation: InstallationKey,
    environment: dict[str, str],  # noqa: ARG001 - set
) -> AsyncIterator[Story]:
    yield Story(shop, topic, database, bootstrap, issuer.token(), installation)


def _context(span: ReadableSpan) -> str:
    return f"00-{trace_of(span)}-{own_id(span)}-01"


def _linked(batches: Iterable[ReadableSpan]) -> set[str]:
    return {f"{link.context.span_id:016x}" for batch in batches for link in batch.links}


async def _told(story: Story, spans: Spans) -> str:
    """The story up to the policy's own event in the read model; returns the policy's name."""
    projector, policy = story.projector(story.projection), story.policy(f"shop.twin.{story.topic.name}")
    async with running(story.relay().run, projector.run, policy.run):
        await eventually(lambda: projector.ready and policy.ready)
        await story.note(uuid4(), f"for {NAME}")
        await eventually(lambda: len(spans.named(f"apply {projector.name}")) == 2)
        await eventually(lambda: len(spans.named(f"apply {policy.name}")) == 2)
    return policy.name


async def test_one_trace_from_the_request_to_the_read_model_and_on_through_a_policy(story: Story) -> None:
    with traced() as spans:
        policy = await _told(story, spans)
    request, command = spans.one("POST /purchases/{id}/notes"), spans.one("command note_purchase")
    assert (request.kind, parent_id(request), parent_id(command)) == (SpanKind.SERVER, CALLER, own_id(request))
    for within in ("wait for the writer", "commit"):
        assert parent_id(spans.one(within)) == own_id(command)

    reactions = spans.named(f"apply {policy}")
    reacted = next(span for span in reactions if parent_id(span) == own_id(command))
    both = {own_id(command), own_id(reacted)}
    published = spans.named(f"publish {story.topic.name}")
    applied = spans.named(f"apply {story.projection.identity}")
    for spans_of_both in (published, applied, reactions):
        assert {parent_id(span) for span in spans_of_both} == both, "each in the trace of its own event"
    assert {span.kind for span in published} == {SpanKind.PRODUCER}
    assert {span.kind for span in (*applied, *reactions)} == {SpanKind.CONSUMER}

    batches = {name: spans.named(f"process {name}") for name in (story.projection.identity, policy)}
    assert {name: _linked(found) for name, found in batches.items()} == dict.fromkeys(batches, both)
    in_batches = {own_id(batch) for found in batches.values() for batch in found}
    assert {trace_of(span) for span in spans.all() if own_id(span) not in in_batches} == {TRACE}

    contexts = [_context(command), _context(reacted)]
    assert [document["traceparent"] for document in story.documents()] == contexts
    assert sorted(filter(None, await story.published_contexts())) == sorted(contexts)
    said = "".join(span.to_json() for span in spans.all())
    assert NAME not in said
    assert str(TWIN) not in said


async def test_a_replay_joins_no_old_trace(story: Story) -> None:
    with traced() as spans:
        await _told(story, spans)
        spans.clear()
        again, anew = purchases_of(story.topic, version=2), story.policy(f"shop.anew.{story.topic.name}")

        async def all_read() -> bool:
            return await story.rows(again) == 2 and len(story.documents()) == 3

        projector = story.projector(again)
        async with running(projector.run, anew.run):
            await eventually(all_read)
            await eventually(lambda: {f"process {anew.name}", f"process {projector.name}"} <= spans.names())
    assert TRACE not in {trace_of(span) for span in spans.all()}
    assert spans.names() <= {f"process {projector.name}", f"process {anew.name}"}
    assert not _linked(spans.all())
    assert "traceparent" not in story.documents()[-1], "what a policy does about old events is in no trace of theirs"


async def test_what_the_relay_publishes_again_joins_no_old_trace(story: Story, bootstrap: str) -> None:
    with traced() as spans:
        async with running(story.relay().run):
            await story.note(uuid4(), "first")
            await eventually(lambda: len(spans.named(f"publish {story.topic.name}")) == 1)
            await _saved(story)
        await recreate_topic(bootstrap, story.topic)
        spans.clear()
        async with running(story.relay().run):
            await story.note(uuid4(), "second")
            await eventually(lambda: len(spans.named(f"publish {story.topic.name}")) == 1)
            await eventually(lambda: _published(story, 2))
    assert len(spans.named(f"publish {story.topic.name}")) == 1
    assert None not in await story.published_contexts(), "the record is the same as before"


async def _saved(story: Story) -> None:
    def checkpoint_holds_it() -> bool:
        return bool(story.shop.rows("SELECT 1 FROM relay_checkpoint WHERE position >= 1"))

    await eventually(checkpoint_holds_it)


async def _published(story: Story, count: int) -> bool:
    return len(await story.published_contexts()) == count


async def test_off_nothing_of_a_trace_is_stored_or_sent(story: Story) -> None:
    projector = story.projector(story.projection)
    async with running(story.relay().run, projector.run):
        await story.note(uuid4(), "gift")

        async def read() -> bool:
            return await story.rows(story.projection) == 1

        await eventually(read)
    assert await story.published_contexts() == [None]
    assert not any(b"traceparent" in row["state"] for row in story.shop.stored())
