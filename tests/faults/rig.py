"""One running platform for many rows: load, faults, repair, and the checker after each."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import psutil
import psycopg
from door import Door, eventually
from ledger import EVENT_STORING
from pymongo.errors import PyMongoError
from tests.faults import invariants, telemetry
from tests.faults.load import Load, Viewer
from tests.faults.patience import PATIENCE
from tests.faults.reality import SERVICES, Cursors, Reality

from crm_events.topics import context_topic
from crm_local.plan import SERVICE_PARTS
from crm_local.stack import Stack

HEALS_WITHIN = 30.0 * PATIENCE
"""Seconds from the repair of a fault until everything is ready and nothing is left to publish or to read."""
GAUGES_WITHIN = 10.0 * PATIENCE
"""A consumer looks every two seconds, and a look may wait three for each of two answers."""
DRAINS_WITHIN = 60.0 * PATIENCE
WRITERS = 6
PAUSE = 0.15
ADAPTER_PAUSE = 0.1


@dataclass
class Trial:
    """One row's load, and what became of it."""

    rig: "Rig"
    load: Load
    viewer: Viewer
    before: telemetry.Counted
    began: float = field(default_factory=time.monotonic)
    working: list[asyncio.Task[None]] = field(default_factory=list)
    repaired_at: float = 0.0
    healed_in: float = 0.0
    poisoned: set[tuple[str, str, str]] = field(default_factory=set)
    """(consumer, topic, key) of every key that is to be parked in the end."""
    replayed: set[str] = field(default_factory=set)
    """Topics in which consumers look back on purpose, or a relay is set back: only positions never go back there."""
    uncounted: set[str] = field(default_factory=set)
    """Services whose counters say less or more than the stores, because others do their work or it is done again."""

    def repaired(self) -> None:
        """From now on the platform has 30 s to be whole again. Called anew, the last call counts."""
        self.repaired_at = time.monotonic()

    async def stop_load(self) -> None:
        """Each client ends with the answer to its last command."""
        self.load.stopping = True
        async with asyncio.timeout(DRAINS_WITHIN):
            await asyncio.gather(*self.working)

    async def settled(self, seconds: float) -> None:
        """Let the load run on its own for a while, as between faults."""
        done = len(self.load.acknowledged)

        async def went_on() -> bool:
            return time.monotonic() > until and len(self.load.acknowledged) > done

        until = time.monotonic() + seconds
        await eventually(went_on, "commands are answered again", within=seconds + HEALS_WITHIN, every=0.2)

    async def answered_by(self, *services: str) -> None:
        """Let the load run until each of these services has done what it was asked to."""

        async def all_did() -> bool:
            return {answer.service for answer in self.load.acknowledged.values()} >= set(services)

        await eventually(all_did, f"{services} have answered commands", within=HEALS_WITHIN, every=0.2)


class Rig:
    """The platform under test."""

    def __init__(self, stack: Stack, session: aiohttp.ClientSession, reality: Reality, seed: int) -> None:
        self.stack = stack
        self.session = session
        self.reality = reality
        self.seed = seed
        self.random = random.Random(seed)  # noqa: S311 - the same seed injects the same faults
        self.door = Door(stack, session)

    @classmethod
    @asynccontextmanager
    async def on(cls, stack: Stack, seed: int) -> AsyncIterator["Rig"]:
        """Opened to a running stack."""
        async with AsyncExitStack() as opened:
            session = await opened.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)))
            yield cls(stack, session, await opened.enter_async_context(Reality.open(stack)), seed)

    @asynccontextmanager
    async def under_load(
        self, *, writers: int = WRITERS, pause: float = PAUSE, with_more_members_of: str = "", exact: bool = True
    ) -> AsyncIterator[Trial]:
        """Load while the caller breaks and repairs; afterwards everything is checked that holds after every fault.

        What more members of a service do, the stack's own process does not count; `exact` is false where a database is
        taken away, so that answers are lost and work is counted by nobody.
        """
        trial = await self._begin()
        load, bootstrap = trial.load, self.stack.addresses.kafka_bootstrap
        watch = asyncio.create_task(self._watch_cursors(trial, await self.reality.cursors()))
        working = trial.working
        working += [asyncio.create_task(load.client(pause)) for _ in range(writers)]
        working.append(asyncio.create_task(load.adapter(bootstrap, ADAPTER_PAUSE)))
        working.append(asyncio.create_task(trial.viewer.look(load)))
        trial.repaired()
        try:
            yield trial
        except BaseException:
            # A task that is cancelled just when what it waits for is done goes on.
            load.stopping = True
            for task in (*working, watch):
                task.cancel()
            await asyncio.gather(*working, watch, return_exceptions=True)
            raise
        await trial.stop_load()
        await self.heals(trial)
        await watch
        trial.uncounted.add(with_more_members_of)
        await self.check(trial, exact=exact)

    async def _begin(self) -> Trial:
        load = Load(self.door, self.random.randrange(2**32))
        await load.prepare()
        contact = (await self.door.post("/api/contacts", {"name": "somebody"}, role="sales")).expect(201)
        viewer = Viewer(self.door, contact.body["id"])
        (await self.door.get(f"/api/customers/{viewer.contact_id}", after=contact.position)).expect(200)
        await self.rests()
        return Trial(self, load, viewer, await self.counted())

    # -- healing

    async def heals(self, trial: Trial) -> None:
        """I6: every process is ready, every event is published and read, within 30 s of the repair."""
        behind: list[str] = ["everything"]
        while behind:
            behind = await self.not_ready() + await self.backlog()
            took = time.monotonic() - trial.repaired_at
            assert not behind or took < HEALS_WITHIN, f"I6: {took:.0f} s after the repair: {behind[: invariants.SHOWN]}"
        trial.healed_in = time.monotonic() - trial.repaired_at

    async def rests(self) -> None:
        """Until everything is published and read, and the reactions to it, too."""

        async def still() -> bool:
            before = await self.reality.cursors()
            return not await self.backlog() and await self.reality.cursors() == before

        await eventually(still, "the platform comes to rest", within=HEALS_WITHIN)

    async def are_parked(self, poisoned: AbstractSet[tuple[str, str, str]]) -> None:
        """Until all of these are in their lots."""

        async def all_are() -> bool:
            return await self.reality.parked() >= poisoned

        await eventually(all_are, "the poisoned keys are parked", within=HEALS_WITHIN)

    async def not_ready(self) -> list[str]:
        answers = await asyncio.gather(*(self._readiness(part) for part in SERVICE_PARTS))
        return [f"{part} is not ready: {answer}" for part, answer in zip(SERVICE_PARTS, answers, strict=True) if answer]

    async def _readiness(self, part: str) -> str:
        try:
            async with self.session.get(f"{self.stack.addresses.service_url(part)}/readyz") as answer:
                return "" if answer.status == 200 else await answer.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as away:
            return type(away).__name__

    async def backlog(self) -> list[str]:
        try:
            return await self.reality.backlog()
        except (psycopg.Error, PyMongoError) as away:
            return [f"a database is away: {type(away).__name__}"]

    # -- checking

    async def check(self, trial: Trial, *, exact: bool = True) -> None:
        """What holds after every fault, of a platform at rest."""
        reality, load = self.reality, trial.load
        await reality.refresh()
        invariants.nobody_got_a_wrong_answer(load)
        invariants.nothing_acknowledged_is_lost(reality, load)
        invariants.nothing_is_there_that_nobody_asked_for(reality, load)
        await invariants.every_read_model_is_the_fold_of_the_store(reality)
        invariants.versions_are_gapless(reality)
        await invariants.exactly_these_are_parked(reality, trial.poisoned)
        after = await self.counted()
        telemetry.agree(trial.before, after, set(SERVICES) - trial.uncounted, exact=exact)
        await self.falls_quiet(trial.poisoned)

    async def falls_quiet(self, poisoned: AbstractSet[tuple[str, str, str]] = frozenset()) -> None:
        """I10: the gauges, which are taken every few seconds, say that nothing is left to do but the parked keys."""
        until = time.monotonic() + GAUGES_WITHIN
        parked = Counter(consumer for consumer, _, _ in poisoned)
        while noise := telemetry.loud(await self.samples(), parked):
            assert time.monotonic() < until, noise[: invariants.SHOWN]
            await asyncio.sleep(0.5)

    async def samples_of(self, part: str) -> telemetry.Samples:
        """What a part says of itself; nothing while it is down."""
        try:
            return await telemetry.scrape(self.stack, self.session, part)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return {}

    async def samples(self) -> dict[str, telemetry.Samples]:
        return {part: await telemetry.scrape(self.stack, self.session, part) for part in SERVICE_PARTS}

    async def counted(self) -> telemetry.Counted:
        """The processes' counters beside the stores' own counts; of a platform at rest."""
        await self.reality.refresh()
        return telemetry.Counted(
            pids={part: self.stack.pid(part) for part in SERVICE_PARTS},
            samples=await self.samples(),
            events={service: self.reality.count(service) for service in EVENT_STORING},
            read=_read(await self.reality.cursors()),
            records={service: len(self.reality.published[context_topic(service)]) for service in EVENT_STORING},
        )

    async def _watch_cursors(self, trial: Trial, known: Cursors) -> None:
        """I5, all the time; `known` are the cursors before the load."""
        load = trial.load
        while not load.stopping:
            await asyncio.sleep(0.5)
            try:
                now = await self.reality.cursors()
            except (psycopg.Error, PyMongoError):
                continue
            load.wrong += invariants.went_back(known, now, trial.replayed)
            known |= now

    # -- faults

    async def kill(self, part: str) -> None:
        """As a crash would; the supervisor starts it again."""
        await asyncio.to_thread(self.stack.kill, part)

    async def kill_again_and_again(self, trial: Trial, part: str, times: int) -> None:
        """Under load, with time between to do something worth killing."""
        for _ in range(times):
            await trial.settled(self.random.uniform(0.5, 2.0))
            await self.kill(part)
            trial.repaired()
            await self.is_back(part)

    async def restart(self, part: str) -> None:
        """SIGTERM, as a deployment does; the supervisor starts it again."""
        await asyncio.to_thread(self.stack.terminate, part)

    @asynccontextmanager
    async def frozen(self, part: str) -> AsyncIterator[None]:
        """SIGSTOP of a part, with all processes that it has started."""
        process = psutil.Process(self.stack.pid(part))
        everything = [process, *process.children(recursive=True)]
        for each in everything:
            each.suspend()
        try:
            yield
        finally:
            for each in everything:
                each.resume()

    @asynccontextmanager
    async def held(self, part: str) -> AsyncIterator[None]:
        """A part is stopped in good order and down meanwhile; afterwards it starts, and is not waited for."""
        await asyncio.to_thread(self.stack.hold, part)
        try:
            yield
        finally:
            self.stack.let_start(part)

    async def is_back(self, part: str, within: float = HEALS_WITHIN) -> None:
        await asyncio.to_thread(self.stack.wait_until_ready, part, within)


def _read(cursors: Cursors) -> dict[str, int]:
    read: dict[str, int] = {}
    for (consumer, _, _), (offset, _) in cursors.items():
        read[consumer] = read.get(consumer, 0) + offset
    return read
