"""What a route needs from the composition root, once it is there."""

from typing import TypeVar

from crm_platform.errors import Unavailable

T = TypeVar("T")


def connected(part: T | None) -> T:
    """The part; raises Unavailable while the process is still connecting to what is behind it."""
    if part is None:
        raise Unavailable("The service is starting and not connected yet; try again in a moment.")
    return part
