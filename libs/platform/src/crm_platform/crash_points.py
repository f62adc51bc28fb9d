"""Places where a test may end the process at once, as kill -9 would: the fault suite's way to die just there.

`CRM_CRASH_AT=relay.after-send` ends the process when it comes to that point. `CRM_CRASH_AT=relay.after-send:3` lets it
pass twice before. Unset, as everywhere but in a test, a point costs one comparison.
"""

import os
from enum import StrEnum

VARIABLE = "CRM_CRASH_AT"
KILLED = 137
"""The exit code of a process that SIGKILL ended, as a shell tells it."""


class CrashPoint(StrEnum):
    """Every place where dying has been thought about."""

    COMMAND_DECIDED = "command.decided"
    COMMAND_APPENDED = "command.appended"
    COMMAND_BEFORE_REPLY = "command.before-reply"
    RELAY_AFTER_READ = "relay.after-read"
    RELAY_AFTER_SEND = "relay.after-send"
    RELAY_AFTER_ACK = "relay.after-ack"
    RELAY_AFTER_CHECKPOINT = "relay.after-checkpoint"
    PROJECTOR_BEFORE_TRANSACTION = "projector.before-transaction"
    PROJECTOR_IN_TRANSACTION = "projector.in-transaction"
    PROJECTOR_AFTER_COMMIT = "projector.after-commit"
    POLICY_DECIDED = "policy.decided"
    POLICY_AFTER_COMMIT = "policy.after-commit"
    KEYRING_AFTER_COMMIT = "keyring.after-commit"
    REBUILD_FILLED = "rebuild.filled"
    REBUILD_STILL = "rebuild.still"
    REBUILD_SWITCHED = "rebuild.switched"


def _told(setting: str) -> tuple[str, int]:
    point, _, count = setting.partition(":")
    return point, int(count or 1)


_point, _remaining = _told(os.environ.get(VARIABLE, ""))


def passing(point: CrashPoint) -> None:
    """Say that the process is at this point; it ends here if it was told so."""
    if _point == point.value:
        _count_down()


def _count_down() -> None:
    global _remaining  # noqa: PLW0603 - the process ends once
    _remaining -= 1
    if _remaining == 0:
        os._exit(KILLED)
