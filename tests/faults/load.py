"""The load of every row: clients that send commands through the public doors until each is answered, and an adapter.

All of it follows from a seed. Each command has a number of its own, which is its request id (and so the correlation of
its events) and its idempotency key: whatever is stored can be traced to the command that asked for it.
"""

import asyncio
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import aiohttp
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from door import Door, Reply

from crm_events.adapter import InteractionRecorded
from crm_events.topics import INTERACTIONS
from crm_platform import kafka

COLD_KEYS = 1_000
SOURCE = "/adapters/faults"
ANSWERED_WITHIN = 150.0
"""A command that gets no answer for so long fails the row: the platform was to be whole again long before."""


class Acknowledged(NamedTuple):
    """A command's answer: what it was done to, and how."""

    service: str
    stream: UUID
    version: int
    event_type: str


class Failure(NamedTuple):
    """An attempt that got no answer to its command: when, at whom, and what came instead."""

    at: float
    service: str
    what: str


class Command(NamedTuple):
    service: str
    role: str
    path: str
    body: dict[str, Any]
    event_type: str
    """The event that it becomes."""


@dataclass
class Load:
    """Closed-loop clients: each sends its next command when the last one is answered."""

    door: Door
    seed: int
    run: str = field(default_factory=lambda: uuid4().hex[:8])
    acknowledged: dict[str, Acknowledged] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    sent: set[str] = field(default_factory=set)
    interactions: dict[UUID, str] = field(default_factory=dict)
    """Streams of the interactions that Kafka has acknowledged, with their external ids."""
    failures: list[Failure] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """Answers that no client should ever get."""
    stopping: bool = False
    hot_ticket: UUID | None = None
    campaign: UUID | None = None

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - the same seed gives the same load
        self._next = 0
        self._leads: list[UUID] = []

    async def prepare(self) -> None:
        """What the hot key and the campaigns' commands need."""
        self.hot_ticket = (await self._answered(self._ticket())).stream
        self.campaign = (await self._answered(self._new_campaign())).stream
        await self._answered(Command("marketing", "marketing", f"campaigns/{self.campaign}/launch", {}, "Launched"))

    # -- clients

    async def client(self, pause: float) -> None:
        """One client until it is told to stop. `pause` is how long it thinks between commands, in seconds."""
        while not self.stopping:
            if self._random.random() < 0.1:
                await self._refusal()
            else:
                await self._answered(self._command())
            await asyncio.sleep(pause * self._random.uniform(0.5, 1.5))

    async def adapter(self, bootstrap: str, pause: float) -> None:
        """A channel adapter that speaks Kafka: it sends each interaction until it is acknowledged."""
        pending: tuple[UUID, bytes] | None = None
        while not self.stopping or pending:
            try:
                async with kafka.producer(bootstrap) as producer:
                    while not self.stopping or pending:
                        pending = pending or self.interaction()
                        await self._write(producer, pending)
                        pending = None
                        await asyncio.sleep(pause)
            except (KafkaError, OSError, TimeoutError):
                await asyncio.sleep(0.5)

    async def _write(self, producer: AIOKafkaProducer, interaction: tuple[UUID, bytes]) -> None:
        stream, value = interaction
        headers = [("content-type", b"application/cloudevents+json")]
        await asyncio.wait_for(
            producer.send_and_wait(INTERACTIONS.name, value, str(stream).encode(), None, None, headers), 20
        )
        self.interactions[stream] = str(stream)

    # -- commands, in the order of the seed

    def _number(self) -> str:
        self._next += 1
        return f"{self.run}-{self._next}"

    def _command(self) -> Command:
        kinds: list[Callable[[], Command]] = [self._lead, self._reply, self._contact, self._campaign_name, self._reply]
        if self._leads:
            kinds.append(self._qualify)
        return self._random.choice(kinds)()

    def _lead(self) -> Command:
        party = {"email": f"{self.run}-{self._random.randrange(COLD_KEYS)}@example.org"}
        return Command("sales", "sales", "leads", {"party": party, "source": "faults"}, "LeadCaptured")

    def _qualify(self) -> Command:
        lead = self._leads.pop()
        body = {"score": self._random.randrange(101)}
        return Command("sales", "sales", f"leads/{lead}/qualify", body, "LeadQualified")

    def _ticket(self) -> Command:
        body = {"party": {"handle": self.run}, "channel": "email", "subject": "the hot key"}
        return Command("service", "service", "tickets", body, "TicketOpened")

    def _reply(self) -> Command:
        return Command("service", "service", f"tickets/{self.hot_ticket}/reply", {"body": "one more"}, "TicketReplied")

    def _contact(self) -> Command:
        handle = {"kind": "handle", "value": f"{self.run}-{self._random.randrange(10**9)}"}
        return Command("contacts", "sales", "contacts", {"identifiers": [handle]}, "ContactRegistered")

    def _new_campaign(self) -> Command:
        return Command("marketing", "marketing", "campaigns", {"name": "faults", "channel": "email"}, "CampaignCreated")

    def _campaign_name(self) -> Command:
        if self.campaign is None:
            return self._new_campaign()
        body = {"contact_id": str(UUID(int=self._random.getrandbits(128), version=4))}
        return Command("marketing", "marketing", f"campaigns/{self.campaign}/enrol", body, "ContactEnrolled")

    def interaction(self, body: str = "one more") -> tuple[UUID, bytes]:
        """The next interaction: its stream, and the record that an adapter writes."""
        interaction = {
            "body": body,
            "external_id": self._number(),
            "occurred_at": "2026-03-01T10:00:00Z",
            "channel": "email",
            "direction": "inbound",
            "party": {"email": f"{self.run}-{self._random.randrange(COLD_KEYS)}@example.org"},
        }
        document = {
            "specversion": "1.0",
            "id": str(uuid4()),
            "source": SOURCE,
            "type": InteractionRecorded.type_name(),
            "time": "2026-03-01T10:00:01Z",
            "data": interaction,
        }
        return InteractionRecorded.model_validate(interaction).identity(SOURCE), json.dumps(document).encode()

    async def _refusal(self) -> None:
        """A command that must be refused, each in its way, and must leave nothing."""
        nobody = f"leads/{uuid4()}/qualify"
        refusals: list[tuple[str, dict[str, Any], dict[str, str], int]] = [
            (nobody, {"score": 1}, {}, 404),
            (nobody, {"score": 101}, {}, 422),
            ("leads", {"source": "faults"}, {}, 422),
            (f"tickets/{self.hot_ticket}/reopen", {}, {}, 409),
            (f"tickets/{self.hot_ticket}/reply", {"body": "late"}, {"If-Match": '"999999"'}, 412),
        ]
        path, body, headers, expected = self._random.choice(refusals)
        service = "sales" if path.startswith("leads") else "service"
        number, reply = await self._until_answered(Command(service, service, path, body, ""), headers)
        self.refused[number] = reply.status
        if not reply.is_problem(expected):
            self.wrong.append(f"{path} was to be refused with {expected}: {reply.status} {reply.body}")

    # -- until answered

    async def _answered(self, command: Command) -> Acknowledged:
        number, reply = await self._until_answered(command, {})
        if reply.status not in (200, 201):
            self.wrong.append(f"a good command to {command.path} was answered {reply.status}: {reply.body}")
            raise AssertionError(self.wrong[-1])
        answer = Acknowledged(command.service, UUID(reply.id), reply.body["version"], command.event_type)
        self.acknowledged[number] = answer
        if command.event_type == "LeadCaptured":
            self._leads.append(answer.stream)
        return answer

    async def _until_answered(self, command: Command, headers: dict[str, str]) -> tuple[str, Reply]:
        """The command's number and its answer, however often it had to be sent; always with the same key."""
        number, began = self._number(), time.monotonic()
        self.sent.add(number)
        all_headers = {**headers, "Idempotency-Key": number, "X-Request-Id": number}
        while True:
            reply = await self._attempt(command, all_headers)
            if reply is not None and reply.status not in (429, 503):
                return number, reply
            assert time.monotonic() - began < ANSWERED_WITHIN, f"no answer to {command.path}: {self.failures[-1]}"
            await asyncio.sleep(0.2 if reply is None else min(2.0, float(reply.headers["Retry-After"])))

    async def _attempt(self, command: Command, headers: dict[str, str]) -> Reply | None:
        try:
            reply = await self.door.post(f"/api/{command.path}", command.body, role=command.role, headers=headers)
        except (aiohttp.ClientError, TimeoutError, OSError) as failure:
            self.failures.append(Failure(time.monotonic(), "gateway", type(failure).__name__))
            return None
        if reply.status >= 429:
            self.failures.append(Failure(time.monotonic(), command.service, str(reply.status)))
            if not (reply.is_problem(reply.status) and reply.status in (429, 503) and "Retry-After" in reply.headers):
                self.wrong.append(f"{command.path}: {reply.status} {dict(reply.headers)} {reply.body}")
        return reply


@dataclass
class Viewer:
    """Somebody who looks at one customer all the time."""

    door: Door
    contact_id: UUID
    answers: list[tuple[float, int]] = field(default_factory=list)

    async def look(self, load: Load, every: float = 0.5) -> None:
        while not load.stopping:
            try:
                status = (await self.door.get(f"/api/customers/{self.contact_id}")).status
            except (aiohttp.ClientError, TimeoutError, OSError):
                status = 0
            self.answers.append((time.monotonic(), status))
            await asyncio.sleep(every)
