"""Which events a subscriber asks for."""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
from aiokafka import TopicPartition

from crm_events import REGISTRY
from crm_events.adapter import AdapterRecord
from crm_events.event import Event
from crm_events.topics import CONTACTS, MARKETING, SALES, SERVICE, Topic, context_topic
from crm_gateway.nearest import nearest
from crm_platform.errors import Refusal

TOPICS = (CONTACTS, MARKETING, SALES, SERVICE)
"""What can be subscribed to."""


class UnknownEventType(Refusal):
    code, title = "unknown-event-type", "There is no such event type"


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Events of some types and of one customer; without types those of every type, without customer everybody's.

    A type is a full name (`crm.sales.LeadCaptured.v1`), one without its version, which means every version, or the
    beginning of names with a `*` behind it.
    """

    types: tuple[str, ...] = ()
    customer: str | None = None

    @classmethod
    def of(cls, types: Iterable[str], customer: str | None) -> "EventFilter":
        """Raises UnknownEventType for a type that no event has, naming those that come nearest."""
        wanted = tuple(sorted(set(types)))
        for each in wanted:
            if not any(_means(each, name) for name in KNOWN):
                raise UnknownEventType(_unknown(each))
        return cls(wanted, customer)

    @property
    def identity(self) -> bytes:
        """The same for the same filter only."""
        return msgspec.msgpack.encode((self.types, self.customer))

    @property
    def places(self) -> list[TopicPartition]:
        """The partitions in which the events asked for stand."""
        wanted = {topic for name, topic in KNOWN.items() if self.passes(name)}
        return [TopicPartition(topic.name, n) for topic in TOPICS if topic in wanted for n in range(topic.partitions)]

    def passes(self, type_name: str) -> bool:
        """Whether events of this type are asked for; it may be one that this release does not know."""
        return not self.types or any(_means(each, type_name) for each in self.types)


def _means(wanted: str, type_name: str) -> bool:
    if wanted.endswith("*"):
        return type_name.startswith(wanted[:-1])
    return wanted in (type_name, _family(type_name))


def _family(type_name: str) -> str:
    return type_name.rpartition(".v")[0]


def _unknown(wanted: str) -> str:
    names = {_family(name) for name in KNOWN}
    return (
        f"No event has such a type. The nearest are {nearest(wanted.rstrip('*'), names)}. Give a name with or without"
        " its version, or the beginning of names with * behind it."
    )


def _published(event: type[Event]) -> Topic | None:
    """The topic on which the event can be subscribed to."""
    named = next((topic for topic in TOPICS if topic.name == context_topic(event.context)), None)
    return named if event.public and not issubclass(event, AdapterRecord) else None


KNOWN = {
    name: topic
    for event in REGISTRY
    if (topic := _published(event)) is not None
    for name in (*event.older_type_names(), event.type_name())
}
"""Every type of event that can be subscribed to, and its topic."""
