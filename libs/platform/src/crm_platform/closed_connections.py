"""Sending on a connection to Kafka that was closed a moment ago.

uvloop raises RuntimeError where asyncio's own loop drops what is written, and aiokafka 0.14 is prepared for OSError
only (https://github.com/aio-libs/aiokafka/issues/1038). The task of its that was sending ends with it, most often the
one that fetches metadata, and whoever needs metadata from then on waits for ever. Here it is told as what it is: a
connection that is lost, which aiokafka makes anew.
"""

from typing import Any

from aiokafka import conn
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError


class _Connection(AIOKafkaConnection):  # type: ignore[misc] # aiokafka's own classes are untyped
    def send(self, request: Any, expect_response: bool = True) -> Any:
        try:
            return super().send(request, expect_response)
        except NotImplementedError:
            raise  # a request that this client does not know, and a RuntimeError, too
        except RuntimeError as closed:
            self.close(reason=CloseReason.CONNECTION_BROKEN)
            raise KafkaConnectionError(f"The connection to {self.host}:{self.port} is closed.") from closed


def tell_closed_connections() -> None:
    """From now on every client of this process does."""
    conn.AIOKafkaConnection = _Connection
