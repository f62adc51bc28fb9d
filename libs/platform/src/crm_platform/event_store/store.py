"""The one way in to a service's event store, for routes and policies alike."""

import asyncio

from crm_platform import tracing
from crm_platform.command import Command, Order, Receipt
from crm_platform.errors import Unavailable
from crm_platform.event_store.committer import Committer, Decision, Job, Outcome
from crm_platform.event_store.writer import Writer
from crm_platform.metrics import COMMANDS_WAITING, REQUESTS_SHED
from crm_platform.work import Handler

ANSWER_SECONDS = 5.0
MAX_WAITING = 1_000
"""Commands that may wait for the writer; more are refused at once.

So many are answered well within ANSWER_SECONDS also where the machine is busy with other things (350 commands a second
were measured on two cores that five programs shared), and memory stays bounded.
"""


class CommandStore:
    """`await store.run(handler, command, order)` answers once the command's events are committed."""

    def __init__(self, committer: Committer) -> None:
        self._writer = Writer(committer, self._answered)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._futures: dict[Job, asyncio.Future[Receipt]] = {}

    @property
    def alive(self) -> bool:
        return self._loop is None or self._writer.alive

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._writer.start()
        COMMANDS_WAITING.set_function(lambda: self._writer.backlog)

    async def stop(self) -> None:
        await asyncio.to_thread(self._writer.stop, ANSWER_SECONDS)

    async def run(self, handler: Handler, command: Command, order: Order) -> Receipt:
        """Carry out a command.

        Raises the handler's Refusal, KeyReused, TooLarge, or Unavailable when no answer came within 5 s or too many
        commands are waiting.
        """
        if self._writer.backlog >= MAX_WAITING:
            REQUESTS_SHED.labels("busy").inc()
            raise Unavailable("Too many commands are waiting for the event store; try again in a moment.")
        with tracing.command(handler.__name__) as trace:
            return await self._answer(Job(handler, command, order, len(command.model_dump_json()), trace))

    async def _answer(self, job: Job) -> Receipt:
        future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._futures[job] = future
        self._writer.submit(job)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await future
        except TimeoutError as late:
            raise Unavailable(
                f"The event store gave no answer within {ANSWER_SECONDS:.0f} s. Repeat the request with the same"
                " Idempotency-Key: it is carried out once."
            ) from late
        finally:
            job.expired = True
            self._futures.pop(job, None)

    async def transact(self, decide: Decision) -> None:
        """Store a policy batch in a transaction of its own; see `Committer.transaction` for what it raises."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def settle(failure: BaseException | None) -> None:
            if not future.done():
                future.set_result(None) if failure is None else future.set_exception(failure)

        def finished(failure: BaseException | None) -> None:
            loop.call_soon_threadsafe(settle, failure)

        self._writer.submit((decide, finished))
        await future

    def _answered(self, outcomes: dict[Job, Outcome]) -> None:
        """Called in the writer thread: one wake-up of the loop for the whole group."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._settle, outcomes)

    def _settle(self, outcomes: dict[Job, Outcome]) -> None:
        for job, outcome in outcomes.items():
            future = self._futures.get(job)
            if future is None or future.done():
                continue
            if isinstance(outcome, Receipt):
                future.set_result(outcome)
            else:
                future.set_exception(outcome)
