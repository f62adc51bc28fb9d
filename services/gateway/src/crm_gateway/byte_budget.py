"""A bound on the bytes that are worked on at once: what is read into memory must have found room first."""

from collections.abc import Iterator
from contextlib import contextmanager

from crm_platform.errors import Unavailable
from crm_platform.metrics import REQUESTS_SHED


class ByteBudget:
    """Room for `limit` bytes, of which `taken` are held now. A request for which there is none is refused at once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.taken = 0

    @contextmanager
    def taking(self, size: int) -> Iterator[None]:
        """Hold room for `size` bytes. Raises Unavailable if there is none."""
        # What is larger than the whole budget finds room once it is alone.
        if self.taken and self.taken + size > self._limit:
            REQUESTS_SHED.labels("busy").inc()
            raise Unavailable("Too many bytes are being worked on; send the request again in a moment.")
        self.taken += size
        try:
            yield
        finally:
            self.taken -= size
