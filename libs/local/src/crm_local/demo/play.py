"""Playing a planned day through the platform's public doors, a few stories at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID, uuid5

from crm_events.adapter import InteractionRecorded
from crm_local.demo.script import Day, LookUp, Message, Named, Post, Story, resolve
from crm_local.demo.texts import CONSOLE
from crm_local.errors import LocalStackError
from crm_local.gateway import Answer, Gateway
from crm_local.publish.message import adapter, to_message
from crm_local.publish.sender import Sender

T = TypeVar("T")

AT_ONCE = 8
_KEYS = UUID("c8b5f1c4-6d4e-5b6c-9a3f-2f0a7d1e4b90")
_KAFKA_BATCH = 500
_HTTP_BATCH = 50


class Player:
    """Plays the day of a seed. `advance` is told of every step and interaction that is done.

    `ids` grows to hold the id that each step was answered with, by the step's name.
    """

    def __init__(self, seed: int, gateway: Gateway, sender: Sender, advance: Callable[[int], None]) -> None:
        self.ids: dict[str, str] = {}
        self._seed = seed
        self._gateway = gateway
        self._sender = sender
        self._advance = advance
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def play(self, day: Day) -> None:
        """Every act, then the interactions. Raises LocalStackError if the platform refuses a step."""
        for act in day.acts:
            await self._each(self._tell, act.stories)
        by_hand = [each for each in day.messages if each.source == CONSOLE]
        await self._each(self._write_down, _batches(by_hand, _HTTP_BATCH))
        for batch in _batches([each for each in day.messages if each.source != CONSOLE], _KAFKA_BATCH):
            await self._report(batch)

    async def _each(self, do: Callable[[T], Awaitable[None]], parts: Iterable[T]) -> None:
        async def in_turn(part: T) -> None:
            async with self._turns:
                await do(part)

        try:
            async with asyncio.TaskGroup() as group:
                for part in parts:
                    group.create_task(in_turn(part))
        except* LocalStackError as refusals:
            raise _first(refusals) from None

    async def _tell(self, story: Story) -> None:
        written: tuple[str, ...] = ()
        for step in story:
            if isinstance(step, Post):
                written = (await self._post(step)).positions
            else:
                await self._look_up(step, written)
            self._advance(1)

    async def _post(self, step: Post) -> Answer:
        body = resolve(step.body, self.ids)
        answer = await self._gateway.post(self._path(step.path), body, role=step.role, key=self._key(step.name))
        self.ids[step.name] = answer.body["id"]
        return answer

    async def _look_up(self, step: LookUp, written: tuple[str, ...]) -> None:
        answer = await self._gateway.get(self._path(step.path), role=step.role, after=written)
        self.ids[step.name] = answer.body[step.member]

    async def _write_down(self, batch: Sequence[Message]) -> None:
        """Over HTTP, as the console does."""
        interactions = [resolve(each.interaction, self.ids) for each in batch]
        body = {"source": adapter(CONSOLE), "interactions": interactions}
        key = self._key("/".join(each["external_id"] for each in interactions))
        answer = await self._gateway.post("/api/interactions", body, role="adapter", key=key)
        _must_all_be_accepted(answer.body)
        self._advance(len(batch))

    async def _report(self, batch: Sequence[Message]) -> None:
        """Over Kafka, as channel adapters do."""
        now = datetime.now(UTC)
        records = [
            (InteractionRecorded.model_validate(resolve(each.interaction, self.ids)), each.source) for each in batch
        ]
        await self._sender.send([to_message(record, source, now) for record, source in records])
        self._advance(len(batch))

    def _path(self, parts: tuple[str | Named, ...]) -> str:
        return "/".join(resolve(parts, self.ids))

    def _key(self, name: str) -> UUID:
        return uuid5(_KEYS, f"{self._seed}/{name}")


def _must_all_be_accepted(body: Any) -> None:
    refused = [each for each in body["results"] if not each["accepted"]]
    if refused:
        raise LocalStackError(f"the gateway refused {len(refused)} interactions of the demo: {refused[0]['errors']}")


def _batches(messages: Sequence[Message], size: int) -> list[Sequence[Message]]:
    return [messages[start : start + size] for start in range(0, len(messages), size)]


def _first(group: BaseExceptionGroup[LocalStackError]) -> LocalStackError:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
