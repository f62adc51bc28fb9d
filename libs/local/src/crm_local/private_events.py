"""Writes the JSON Schemas of what services store and do not publish: `python -m crm_local.private_events`.

They stand in each service's own package, for nobody else reads these events; its older and newer releases do.
"""

import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from crm_events.event import Event
from crm_events.release import release
from crm_local.asyncapi import composed


class PrivateEvents(NamedTuple):
    """A service's private events, and the folder of their released schemas."""

    service: str
    events: tuple[type[Event], ...]
    folder: Path


def private_events() -> Iterator[PrivateEvents]:
    """Of every service that has an event store; most have none that are private."""
    for service in composed():
        if service.events is not None:
            folder = Path(str(files(f"crm_{service.name}"))) / "released"
            yield PrivateEvents(service.name, service.events.private, folder)


def main() -> int:
    """Exit 0 when all schemas are written, 1 when one may not be."""
    return max(release(each.events, each.folder) for each in private_events())


if __name__ == "__main__":
    sys.exit(main())
