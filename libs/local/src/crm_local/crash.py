"""A crash ordered in advance: the next start of a part, and that one only, is told where to die."""

from dataclasses import replace

from crm_local.folder import StateFolder
from crm_local.process import Launch

CRASH_AT = "CRM_CRASH_AT"
"""The variable in which a service is told the crash point at which it ends."""


def order_crash(folder: StateFolder, part: str, point: str, nth: int) -> None:
    """The next process of the part ends when it comes to `point` for the `nth` time."""
    folder.crashes.mkdir(mode=0o700, exist_ok=True)
    (folder.crashes / part).write_text(f"{point}:{nth}")


def with_ordered_crash(launch: Launch, folder: StateFolder, part: str) -> Launch:
    """The launch, with the crash that was ordered for it. The order is spent with this."""
    order = folder.crashes / part
    if not order.exists():
        return launch
    told = order.read_text()
    order.unlink()
    return replace(launch, environment={**launch.environment, CRASH_AT: told})
