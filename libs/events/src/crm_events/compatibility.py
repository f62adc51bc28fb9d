"""Whether a changed schema still fits what is out there (docs/adr/0014).

Two parties did not change: readers of the last release, which will be given what today's release writes, and events
that were stored, which today's release has to read. A change that one of them cannot survive is a new version.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from crm_events.schemas import OPENED, Schema


class Breaks(StrEnum):
    OLD_READERS = "old readers"
    STORED_EVENTS = "stored events"


@dataclass(frozen=True, slots=True)
class Change:
    """A change of one member, named by its path, that somebody cannot survive."""

    member: str
    what: str
    breaks: Breaks

    def __str__(self) -> str:
        return f"{self.member or 'data'} {self.what}: {_WHY[self.breaks]}"


_WHY = {
    Breaks.OLD_READERS: "readers of the last release cannot take what would be written",
    Breaks.STORED_EVENTS: "events that are stored could not be read any more",
}
_ANNOTATIONS = {"$schema", "$id", "$defs", "$ref", "$comment", "title", "description", "examples", "deprecated"}
_STRUCTURE = {
    *("type", "default", "enum", "const", "pattern", "format", "properties", "required", "additionalProperties"),
    *("items", "propertyNames", "anyOf", OPENED),
}
_LEAST = {"minimum": "the least value", "minLength": "the least length", "minItems": "the fewest items",
          "minProperties": "the fewest members", "exclusiveMinimum": "the bound below"}  # fmt: skip
_MOST = {"maximum": "the greatest value", "maxLength": "the greatest length", "maxItems": "the most items",
         "maxProperties": "the most members", "exclusiveMaximum": "the bound above"}  # fmt: skip
_UNDERSTOOD = _ANNOTATIONS | _STRUCTURE | _LEAST.keys() | _MOST.keys()
_NEVER_LESS_THAN_NOTHING = {"minLength", "minItems", "minProperties"}


def incompatible_changes(released: Schema, today: Schema) -> list[Change]:
    """What of the changes from the released schema to today's cannot be survived, and by whom; empty if all can.

    A closed schema is a contract for those who write (channel adapters); its one reader is of this release, so it may
    grow. An open one is read by older releases, so it may not.
    """
    changes = _unique(_Comparison(released, today).changes("", released, today))
    closed = released.get("additionalProperties") is False
    return [change for change in changes if not (closed and change.breaks is Breaks.OLD_READERS)]


def unreadable_blocks(older: Schema, newer: Schema) -> list[Change]:
    """What of an older version's personal block today's class of it could not read.

    No upcaster sees a sealed block, so what was sealed under any version must still be readable by the newest.
    """
    before, now = _opened_blocks(older), _opened_blocks(newer)
    changes: list[Change] = []
    for member, block in before.items():
        if member not in now:
            changes.append(Change(member, "is no personal block any more", Breaks.STORED_EVENTS))
        else:
            changes += _Comparison(older, newer).changes(f"{member}, opened", block, now[member])
    return [change for change in _unique(changes) if change.breaks is Breaks.STORED_EVENTS]


def _opened_blocks(schema: Schema) -> dict[str, Schema]:
    return {name: member[OPENED] for name, member in schema.get("properties", {}).items() if OPENED in member}


def _unique(changes: Iterable[Change]) -> list[Change]:
    return list(dict.fromkeys(changes))


class _Comparison:
    """Of two schemas, each with definitions of its own; `before` and `now` are parts of them at the same place."""

    def __init__(self, released: Schema, today: Schema) -> None:
        self._released = released
        self._today = today
        self._in_work: set[tuple[str, str]] = set()

    def changes(self, path: str, before: Schema, now: Schema) -> Iterator[Change]:
        pair = (before.get("$ref", ""), now.get("$ref", ""))
        if all(pair) and pair in self._in_work:
            return  # a value that contains its like: it is being compared already
        self._in_work.add(pair)
        yield from self._default(path, before, now)
        olds, news = _alternatives(self._released, before), _alternatives(self._today, now)
        for old in olds:
            yield from self._still_readable(path, old, news)
        for new in news:
            yield from self._already_readable(path, new, olds)
        if OPENED in before and OPENED in now:
            yield from self.changes(f"{path}, opened", before[OPENED], now[OPENED])
        self._in_work.discard(pair)

    @staticmethod
    def _default(path: str, before: Schema, now: Schema) -> Iterator[Change]:
        if before.get("default") != now.get("default"):
            what = f"says {now.get('default')!r} where it is absent, it was {before.get('default')!r}"
            yield Change(path, what, Breaks.STORED_EVENTS)

    def _still_readable(self, path: str, old: Schema, news: list[Schema]) -> Iterator[Change]:
        """Whatever was stored fits one of today's alternatives."""
        fits = [new for new in news if _fits(old, new)]
        if fits:
            yield from self._fewest(path, [(old, new) for new in fits], Breaks.STORED_EVENTS)
        else:
            yield Change(path, f"may no longer be {_words(old)}", Breaks.STORED_EVENTS)

    def _already_readable(self, path: str, new: Schema, olds: list[Schema]) -> Iterator[Change]:
        """Whatever will be written fits one of the alternatives of the last release."""
        fits = [old for old in olds if _fits(new, old)]
        if fits:
            yield from self._fewest(path, [(old, new) for old in fits], Breaks.OLD_READERS)
        else:
            yield Change(path, f"may now be {_words(new)}", Breaks.OLD_READERS)

    def _fewest(self, path: str, pairs: list[tuple[Schema, Schema]], breaks: Breaks) -> list[Change]:
        """Of the pairs that could be meant, the one with the fewest changes."""
        found = ([c for c in self._of_pair(path, *pair) if c.breaks is breaks] for pair in pairs)
        return min(found, key=len)

    def _of_pair(self, path: str, old: Schema, new: Schema) -> Iterator[Change]:
        yield from _values(path, old, new)
        yield from _limits(path, old, new)
        yield from _texts(path, old, new)
        yield from self._members(path, old, new)
        yield from self._others(path, old, new)
        for part in ("items", "propertyNames"):
            if part in old or part in new:
                yield from self.changes(f"{path}[]", old.get(part, {}), new.get(part, {}))
        for keyword in sorted((old.keys() | new.keys()) - _UNDERSTOOD):
            if _spelled_out(self._released, old.get(keyword)) != _spelled_out(self._today, new.get(keyword)):
                yield from _both_ways(path, f"has another {keyword}")

    def _members(self, path: str, old: Schema, new: Schema) -> Iterator[Change]:
        before, now = old.get("properties", {}), new.get("properties", {})
        needed, needs = set(old.get("required", ())), set(new.get("required", ()))
        for name in before.keys() - now.keys():
            yield Change(_at(path, name), "is gone", Breaks.OLD_READERS)
            if new.get("additionalProperties") is False:
                yield Change(_at(path, name), "is gone, and what is not named is refused", Breaks.STORED_EVENTS)
        for name in now.keys() - before.keys():
            if old.get("additionalProperties") is False:
                yield Change(_at(path, name), "is new where nothing new is read", Breaks.OLD_READERS)
        for name in sorted(needs - needed):
            what = "is required, it was optional" if name in before else "is new and required"
            yield Change(_at(path, name), what, Breaks.STORED_EVENTS)
        for name in sorted((needed - needs) & now.keys()):
            yield Change(_at(path, name), "is optional, it was required", Breaks.OLD_READERS)
        for name in before.keys() & now.keys():
            yield from self.changes(_at(path, name), before[name], now[name])

    def _others(self, path: str, old: Schema, new: Schema) -> Iterator[Change]:
        """Members that are not named: any (True), none (False), or values of a map."""
        before, now = old.get("additionalProperties", True), new.get("additionalProperties", True)
        if isinstance(before, dict) and isinstance(now, dict):
            yield from self.changes(_at(path, "*"), before, now)
        elif before != now and now is False:
            yield Change(path, "refuses members that it does not name", Breaks.STORED_EVENTS)
        elif before != now and before is False:
            yield Change(path, "takes members that it does not name", Breaks.OLD_READERS)
        elif before != now:
            yield from _both_ways(path, "holds other values")


def _alternatives(root: Schema, schema: Schema) -> list[Schema]:
    """What a value may be, each of one type."""
    if "$ref" in schema:
        return _alternatives(root, root["$defs"][schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema:
        return [found for option in schema["anyOf"] for found in _alternatives(root, option)]
    return [schema]


def _spelled_out(root: Schema, part: Any, within: frozenset[str] = frozenset()) -> Any:
    """A part with its definitions in place of their names, each once."""
    if isinstance(part, list):
        return [_spelled_out(root, each, within) for each in part]
    if not isinstance(part, dict):
        return part
    name = part.get("$ref")
    if name is not None and name not in within:
        return _spelled_out(root, root["$defs"][name.rpartition("/")[2]], within | {name})
    return {keyword: _spelled_out(root, value, within) for keyword, value in part.items()}


def _fits(one: Schema, other: Schema) -> bool:
    """Whether values of the first type are values of the second, limits aside."""
    kinds = one.get("type"), other.get("type")
    return kinds[1] in (None, kinds[0]) or kinds == ("integer", "number")


def _values(path: str, old: Schema, new: Schema) -> Iterator[Change]:
    before, now = _choices(old), _choices(new)
    if before is not None and now is not None:
        for value in before:
            if value not in now:
                yield Change(path, f"may no longer be {value!r}", Breaks.STORED_EVENTS)
        for value in now:
            if value not in before:
                yield Change(path, f"may now be {value!r}", Breaks.OLD_READERS)
    elif now is not None:
        yield Change(path, f"may only be one of {len(now)} values, it was free", Breaks.STORED_EVENTS)
    elif before is not None:
        yield Change(path, f"is free, it was one of {len(before)} values", Breaks.OLD_READERS)


def _choices(schema: Schema) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _limits(path: str, old: Schema, new: Schema) -> Iterator[Change]:
    for keyword, called in _LEAST.items():
        none = 0 if keyword in _NEVER_LESS_THAN_NOTHING else float("-inf")
        before, now = old.get(keyword, none), new.get(keyword, none)
        yield from _moved(path, called, (before, now), narrowed=now > before)
    for keyword, called in _MOST.items():
        before, now = old.get(keyword, float("inf")), new.get(keyword, float("inf"))
        yield from _moved(path, called, (before, now), narrowed=now < before)


def _moved(path: str, called: str, limits: tuple[float, float], *, narrowed: bool) -> Iterator[Change]:
    before, now = ("none" if limit in (float("inf"), float("-inf")) else limit for limit in limits)
    if before != now:
        what = f"has {now} as {called}, it was {before}"
        yield Change(path, what, Breaks.STORED_EVENTS if narrowed else Breaks.OLD_READERS)


def _texts(path: str, old: Schema, new: Schema) -> Iterator[Change]:
    for keyword in ("pattern", "format"):
        before, now = old.get(keyword), new.get(keyword)
        if before == now:
            continue
        if before is None:
            yield Change(path, f"has a {keyword}, it had none", Breaks.STORED_EVENTS)
        elif now is None:
            yield Change(path, f"has no {keyword}, it had one", Breaks.OLD_READERS)
        else:
            yield from _both_ways(path, f"has another {keyword}")


def _both_ways(path: str, what: str) -> Iterator[Change]:
    """A change of which nothing says in which direction it goes."""
    for breaks in Breaks:
        yield Change(path, what, breaks)


def _at(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _words(schema: Schema) -> str:
    return str(schema.get("title") or schema.get("format") or schema.get("type") or "anything")
