"""Writes the JSON Schemas of today's events: `python -m crm_events.release`.

A schema that was released is overwritten only by one that everybody out there survives (docs/adr/0014).
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from crm_events import EVENTS
from crm_events.compatibility import incompatible_changes, unreadable_blocks
from crm_events.event import Event
from crm_events.schemas import Schema, schema_for, text_of

FOLDER = Path(__file__).parent / "released"
ADVICE = (
    "A released event is not changed like that. Make a new version of it, with an upcaster:\n"
    '"Change an event" in docs/adding-an-event.md.'
)


def released(folder: Path) -> dict[str, Schema]:
    """Every schema that was released into the folder, by type name."""
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in folder.glob("*.json")}


def refusals(events: Iterable[type[Event]], before: Mapping[str, Schema]) -> list[str]:
    """Why today's events may not be released over those of `before`; empty if they may."""
    events = tuple(events)
    return [*(reason for event in events for reason in _of_event(event, before)), *_unread(events, before)]


def told(reasons: Iterable[str]) -> str:
    """The refusal, and what to do instead."""
    return "\n".join((*reasons, ADVICE))


def _of_event(event: type[Event], before: Mapping[str, Schema]) -> Iterator[str]:
    name, today = event.type_name(), schema_for(event)
    if name in before:
        yield from (f"{name}: {change}" for change in incompatible_changes(before[name], today))
    for older in event.older_type_names():
        if older not in before:
            yield f"{older}: {event.__name__} has an upcaster from it, but it was never released"
        else:
            yield from (f"{older}: {change}" for change in unreadable_blocks(before[older], today))


def _unread(events: Iterable[type[Event]], before: Mapping[str, Schema]) -> Iterator[str]:
    read = {name for event in events for name in (*event.older_type_names(), event.type_name())}
    for name in sorted(before.keys() - read):
        yield f"{name}: it was released, and no class reads it any more"


def release(events: Iterable[type[Event]], folder: Path) -> int:
    """Write the events' schemas into the folder; 0 when that is done, 1 with every reason told when it may not be."""
    events = tuple(events)
    reasons = refusals(events, released(folder))
    if reasons:
        sys.stderr.write(told(reasons) + "\n")
        return 1
    for event in events:
        folder.mkdir(exist_ok=True)
        (folder / f"{event.type_name()}.json").write_text(text_of(schema_for(event)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(release(EVENTS, FOLDER))
