"""Read models: pure folds from events to documents.

    class Leads(Projection):
        name, version, topics = "sales.leads", 1, (SALES,)

        @fold(LeadCaptured, LeadRow)
        def captured(self, row: LeadRow | None, event: Recorded[LeadCaptured]) -> LeadRow: ...

The same fold serves live projection, rebuild, time travel and tests. A document is a frozen `msgspec.Struct`; its id is
the event's subject unless the fold says `key=`. An event may have several folds, each into another document.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeVar

import msgspec

from crm_events.envelope import Recorded
from crm_events.event import Event
from crm_events.topics import Topic


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """One record of a read model, at most 16 kB; what grows with history is a record of its own.

    `collection` is the MongoDB collection within the read model. `version` is the aggregate's version after the last
    event folded, where the document follows one aggregate.
    """

    collection: ClassVar[str]
    indexes: ClassVar[tuple["Index", ...]] = ()
    id: str
    version: int = 0


@dataclass(frozen=True, slots=True, init=False)
class Index:
    """A MongoDB index of a document's collection; a field with a leading minus is sorted downwards."""

    fields: tuple[tuple[str, int], ...]

    def __init__(self, *fields: str) -> None:
        keys = tuple((f.removeprefix("-"), -1 if f.startswith("-") else 1) for f in fields)
        object.__setattr__(self, "fields", keys)


D = TypeVar("D", bound=Document)


class Place(NamedTuple):
    """Where an event was read: folds that keep totals per partition put it in their key."""

    topic: str
    partition: int


Key = Callable[[Recorded[Any], Place], str]


def by_subject(event: Recorded[Any], place: Place) -> str:  # noqa: ARG001 - the signature of every key
    """The document that follows the event's own aggregate."""
    return str(event.subject)


@dataclass(frozen=True, slots=True)
class Fold:
    event: type[Event]
    document: type[Document]
    key: Key
    method: str


def fold(
    event: type[Event], document: type[D], *, key: Key = by_subject
) -> Callable[[Callable[..., D]], Callable[..., D]]:
    """Declare a method `(self, document | None, recorded event) -> document` as the fold of one event type.

    The document is kept under the id that its key gives, whatever its own `id` says. The fold is pure: no clock, no
    I/O, no randomness. When it raises, the document stays as it was and the partition stops. Returning the same object
    means that nothing changed. A method may carry several of these.
    """

    def declare(method: Callable[..., D]) -> Callable[..., D]:
        folds: list[tuple[type[Event], type[Document], Key]] = getattr(method, "__folds__", [])
        method.__folds__ = [*folds, (event, document, key)]  # type: ignore[attr-defined] # read by Projection below
        return method

    return declare


Declared = list[tuple[type[Event], type[Document], Key]]


def _declared_folds(projection: type) -> dict[str, Declared]:
    """The fold methods of a class and its bases, by name. Raises TypeError where two classes share a name."""
    found: dict[str, Declared] = {}
    for part in reversed(projection.__mro__):
        for method in vars(part).values():
            declared = getattr(method, "__folds__", None)
            if declared is None:
                continue
            if method.__name__ in found:
                raise TypeError(f"{projection.__name__} has two folds named {method.__name__}")
            found[method.__name__] = declared
    return found


class Projection:
    """A read model. `name` and `version` are its identity: a change of shape is a new version, built beside the old.

    A large one may inherit from classes that hold the folds of one kind of record each. One that several services have
    is given the service's name when it is made.

    `answers` are documents whose id is a stream in which another service answers: a read after a write waits for them.

    `keeps_history` says that the events folded are kept beside the documents, sealed as they are, so that the documents
    can be folded as of any past moment (docs/adr/0017).
    """

    name: str
    version: ClassVar[int]
    topics: ClassVar[tuple[Topic, ...]]
    answers: ClassVar[tuple[type[Document], ...]] = ()
    keeps_history: ClassVar[bool] = False
    folds: ClassVar[dict[type[Event], list[Fold]]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.folds = {}
        for name, declared in _declared_folds(cls).items():
            for event, document, key in declared:
                cls.folds.setdefault(event, []).append(Fold(event, document, key, name))

    @property
    def identity(self) -> str:
        return f"{self.name}.v{self.version}"

    @classmethod
    def documents(cls) -> set[type[Document]]:
        return {f.document for folds in cls.folds.values() for f in folds}

    def seen_filter(self, stream: str, version: int) -> list[tuple[type[Document], dict[str, Any]]]:
        """Where it shows that `stream` has come to `version`: any of these finds a document (docs/adr/0004).

        Nothing at all means that the read model does not show such answers, so a read need not wait for them.
        """
        return [(document, {"_id": stream, "version": {"$gte": version}}) for document in self.answers]

    def pending_filter(self, stream: str) -> list[tuple[type[Document], dict[str, Any]]]:  # noqa: ARG002 - for those who override
        """Where it shows that the read model still waits for an answer in `stream`: none of these finds a document.

        For a read model that knows who asked: an answer to somebody else's question is no concern of it.
        """
        return []

    def apply(self, fold: Fold, document: Document | None, event: Recorded[Event]) -> Document:
        """The document after the event."""
        folded: Document = getattr(self, fold.method)(document, event)
        return folded
