"""A day as a script: what is to be done, in which order, by names instead of ids that only the platform knows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Named:
    """Stands for the id that an earlier step of this name was answered with."""

    name: str


@dataclass(frozen=True, slots=True)
class Post:
    """A command. Its idempotency key follows from its name, so it is carried out once however often it is sent.

    `path` is joined by slashes; the id in the answer is known by `name` from then on.
    """

    name: str
    path: tuple[str | Named, ...]
    role: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LookUp:
    """A read that sees what its story has written before; the id in `member` is known by `name` from then on."""

    name: str
    path: tuple[str | Named, ...]
    role: str
    member: str


Story = tuple[Post | LookUp, ...]
"""Steps that need one another, one after the other. Stories of one act are independent."""


@dataclass(frozen=True, slots=True)
class Act:
    """Stories that may be played at once. The next act may need what this one did."""

    title: str
    stories: tuple[Story, ...]

    @property
    def steps(self) -> int:
        return sum(len(story) for story in self.stories)


@dataclass(frozen=True, slots=True)
class Message:
    """An interaction as the adapter `source` reports it; `about` is the contact's number, None for a stranger."""

    source: str
    interaction: Mapping[str, Any]
    about: int | None = None


@dataclass(frozen=True, slots=True)
class Day:
    """Everything the demo does. `hero` is the e-mail address of the contact who lives through most of it."""

    acts: tuple[Act, ...]
    messages: tuple[Message, ...]
    hero: str

    def steps(self) -> Iterator[Post | LookUp]:
        for act in self.acts:
            for story in act.stories:
                yield from story


def names_in(value: Any) -> Iterator[str]:
    """The names that a path, a body or an interaction refers to."""
    if isinstance(value, Named):
        yield value.name
    elif isinstance(value, Mapping):
        for member in value.values():
            yield from names_in(member)
    elif isinstance(value, list | tuple):
        for member in value:
            yield from names_in(member)


def resolve(value: Any, ids: Mapping[str, str]) -> Any:
    """The value with every name replaced by its id. Raises KeyError for a name that is not known yet."""
    if isinstance(value, Named):
        return ids[value.name]
    if isinstance(value, Mapping):
        return {name: resolve(member, ids) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [resolve(member, ids) for member in value]
    return value
