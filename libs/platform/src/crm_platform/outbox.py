"""What of the store is to be published, and how: the chain that makes loss visible (docs/adr/0003).

Nothing here reads or writes anything; the relay does, and the simulation of deliveries instead of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from crm_events.envelope import STRUCTURED, event_id, written_id
from crm_events.topics import Topic
from crm_platform.authenticity import HEADER as MAC_HEADER
from crm_platform.authenticity import Authenticator
from crm_platform.event_store.mapper import PRIVATE
from crm_platform.event_store.recorder import Notification
from crm_platform.event_tracing import traceparent_of
from crm_platform.kafka import Outgoing
from crm_platform.partitioning import address_of
from crm_platform.tracing import TRACEPARENT

_CONTENT_TYPE = ("content-type", STRUCTURED.encode())


class StoreBehindLogError(RuntimeError):
    """Kafka holds events that the store does not: the store was restored from a backup."""


@dataclass(slots=True)
class Checkpoint:
    """How far the store is published: its position, and the last position in each partition."""

    position: int = 0
    partitions: dict[int, int] = field(default_factory=dict)

    def copy(self) -> "Checkpoint":
        return Checkpoint(self.position, dict(self.partitions))


class Outbox:
    """One service's store as records of its topic."""

    def __init__(self, topic: Topic, authenticator: Authenticator) -> None:
        self.topic = topic
        self._authenticator = authenticator

    def records(self, notifications: Iterable[Notification], checkpoint: Checkpoint) -> list[Outgoing]:
        """The records of these events, private ones left out; the checkpoint moves on to the last of them."""
        outgoing = []
        for notification in notifications:
            if not notification.topic.startswith(PRIVATE):
                outgoing.append(self._record(notification, checkpoint.partitions))
            checkpoint.position = notification.position
        return outgoing

    def _record(self, notification: Notification, last: dict[int, int]) -> Outgoing:
        key, partition = address_of(notification.stream, self.topic.partitions)
        position, previous = notification.position, last.get(partition, 0)
        last[partition] = position
        type_name = notification.topic.encode()
        mac = self._authenticator.mac(
            self.topic.name, partition, position, previous, type_name, key, notification.state
        )
        headers = [
            _CONTENT_TYPE,
            ("ce_id", written_id(notification.state) or _id_of(notification)),
            ("ce_type", type_name),
            ("ce_position", b"%d" % position),
            ("ce_previous", b"%d" % previous),
            (MAC_HEADER, mac),
        ]
        traceparent = traceparent_of(notification.state)
        if traceparent is not None:
            headers.append((TRACEPARENT, traceparent))
        return Outgoing(partition, key, notification.state, headers)

    def position_to_set_back_to(self, checkpoint: Checkpoint, published: Mapping[int, int], newest: int) -> int | None:
        """Where publishing must begin again because Kafka has lost what the checkpoint says was published.

        `published` is the last position that each partition holds, `newest` the store's last; None where nothing is
        lost. Raises StoreBehindLogError.
        """
        ahead = max(published.values(), default=0)
        if ahead > newest:
            raise StoreBehindLogError(
                f"{self.topic.name} holds position {ahead}, the store ends at {newest}: it was restored from a backup."
                " Take the missing events back from the log before this service writes again."
            )
        last = checkpoint.partitions.items()
        return min((published.get(p, 0) for p, position in last if published.get(p, 0) < position), default=None)


def within(notifications: Sequence[Notification], limit: int) -> Sequence[Notification]:
    """As many of the first events as hold at most `limit` bytes, but one at least."""
    size = 0
    for index, notification in enumerate(notifications):
        size += len(notification.state)
        if size > limit and index:
            return notifications[:index]
    return notifications


def _id_of(notification: Notification) -> bytes:
    """Of a document that another release has laid out in its own way."""
    return str(event_id(notification.stream, notification.sequence)).encode()
