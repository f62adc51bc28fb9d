"""From type names to event classes."""

from collections.abc import Iterable, Iterator

from crm_events.event import Event


class Registry:
    """The event types that a reader knows, by CloudEvents type name; an older version is read as today's class.

    Raises ValueError where two events have one name, TypeError where an older version would be left unread.
    """

    def __init__(self, events: Iterable[type[Event]]) -> None:
        self._by_name: dict[str, type[Event]] = {}
        for event in events:
            for name in (*event.older_type_names(), event.type_name()):
                if self._by_name.setdefault(name, event) is not event:
                    raise ValueError(f"two events are named {name}")
        for event in self:
            self._check_that_all_versions_are_read(event)

    def find(self, type_name: str) -> type[Event] | None:
        """The class that reads events of this name: today's, also for an older version that it has upcasters for."""
        return self._by_name.get(type_name)

    def with_events(self, events: Iterable[type[Event]]) -> "Registry":
        """This registry and a service's private events."""
        return Registry([*self, *events])

    def __iter__(self) -> Iterator[type[Event]]:
        return iter(dict.fromkeys(self._by_name.values()))

    def _check_that_all_versions_are_read(self, event: type[Event]) -> None:
        """Every version below today's was released, and stands in stores and topics."""
        family = event.type_name().removesuffix(f"{event.version}")
        unread = [name for version in range(1, event.version) if (name := f"{family}{version}") not in self._by_name]
        if len(event.upcasters) >= event.version:
            raise TypeError(
                f"{event.type_name()} has {len(event.upcasters)} upcasters, more than it has older versions"
            )
        if unread:
            raise TypeError(
                f"{event.type_name()} has {len(event.upcasters)} upcasters, so nothing reads {', '.join(unread)};"
                " it needs one for each step from version 1"
            )
