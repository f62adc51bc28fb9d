"""Whether a service's consumers have taken in all that was said up to now."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from aiokafka import TopicPartition

from crm_events.topics import Topic
from crm_platform import kafka
from crm_platform.cursor import Cursor
from crm_platform.delivery import Standing
from crm_platform.live_read_model import LiveReadModel
from crm_platform.policy_store import PolicyStore

LOOK_SECONDS = 0.2
GIVE_UP_SECONDS = 30.0


class Followed(Protocol):
    """A consumer of which it is to be known how far it has come."""

    @property
    def topics(self) -> Sequence[Topic]: ...

    async def standing(self, places: set[TopicPartition]) -> Standing:
        """Its stored cursors in these partitions, and what it has parked there."""
        ...


class FollowedReadModel:
    """The live generation of a read model."""

    def __init__(self, topics: Sequence[Topic], live: LiveReadModel) -> None:
        self.topics = topics
        self._live = live

    async def standing(self, places: set[TopicPartition]) -> Standing:
        return await (await self._live.current()).standing(places)


class FollowedPolicy:
    def __init__(self, topics: Sequence[Topic], store: PolicyStore) -> None:
        self.topics = topics
        self._store = store

    async def standing(self, places: set[TopicPartition]) -> Standing:
        return await asyncio.to_thread(self._store.standing, places)


async def caught_up(followed: Sequence[Followed], bootstrap: str, key: str) -> bool:
    """Wait until each has read what its topics hold now; False where one does not get there in time.

    One that has parked events of that key does not get there. Raises what is away.
    """
    ends = await _ends(bootstrap, {topic for each in followed for topic in each.topics})
    return all(await asyncio.gather(*(_has_read(each, ends, key) for each in followed)))


async def _has_read(followed: Followed, ends: Mapping[TopicPartition, int], key: str) -> bool:
    names = {topic.name for topic in followed.topics}
    mine = {place: end for place, end in ends.items() if place.topic in names}
    for _ in range(round(GIVE_UP_SECONDS / LOOK_SECONDS)):
        standing = await followed.standing(set(mine))
        if all(standing.cursors.get(place, Cursor()).next_offset >= end for place, end in mine.items() if end):
            return not any(key in keys for keys in standing.parked.values())
        await asyncio.sleep(LOOK_SECONDS)
    return False


async def _ends(bootstrap: str, topics: Iterable[Topic]) -> dict[TopicPartition, int]:
    async with kafka.reader(bootstrap) as client:
        return {
            TopicPartition(topic.name, number): end
            for topic in topics
            for number, end in (await kafka.end_offsets(client, topic.name, topic.partitions)).items()
        }
