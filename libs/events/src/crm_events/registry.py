"""From type names to event classes."""

from collections.abc import Iterable, Iterator

from crm_events.event import Event


class Registry:
    """The event types that a reader knows, by CloudEvents type name."""

    def __init__(self, events: Iterable[type[Event]]) -> None:
        self._by_name: dict[str, type[Event]] = {}
        for event in events:
            if self._by_name.setdefault(event.type_name(), event) is not event:
                raise ValueError(f"two events are named {event.type_name()}")

    def find(self, type_name: str) -> type[Event] | None:
        return self._by_name.get(type_name)

    def with_events(self, events: Iterable[type[Event]]) -> "Registry":
        """This registry and a service's private events."""
        return Registry([*self, *events])

    def __iter__(self) -> Iterator[type[Event]]:
        return iter(self._by_name.values())
