"""Connections to PostgreSQL that notice when the other side has fallen silent.

A database that is frozen, or a link that swallows what is sent, closes nothing: without a bound of its own a client
waits for ever, and with it the writer of all commands. TCP notices a link that carries nothing at all; a server that is
frozen, or a proxy in between, still acknowledges. So a connection is given up, too, when it says nothing for a while.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.rows import DictRow
from psycopg.sql import SQL, Identifier
from psycopg.waiting import Ready
from psycopg_pool import ConnectionPool

SILENCE_SECONDS = 4.0
"""Longer than the server waits for a lock, shorter than a command waits for its answer."""
CONNECT_SECONDS = 3

PARAMETERS: Mapping[str, Any] = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 8_000,
}
"""How libpq connects: a peer that is gone is noticed within 11 s also where nothing is being asked."""

V = TypeVar("V")


class BoundedConnection(psycopg.Connection[DictRow]):
    """A connection that is closed, with OperationalError, when an answer makes no progress for `SILENCE_SECONDS`.

    What counts is silence, not duration: a slow link may carry a large answer for as long as it takes.
    """

    def wait(self, gen: PQGen[V], interval: float = 0.1, timeout: float | None = None) -> V:
        return super().wait(self._listened_to(gen), interval, timeout)

    def _listened_to(self, answer: PQGen[V]) -> PQGen[V]:
        heard = monotonic()
        try:
            wanted = next(answer)
            while True:
                ready = yield wanted
                if ready != Ready.NONE:
                    heard = monotonic()
                elif monotonic() - heard > SILENCE_SECONDS:
                    self._give_up()
                wanted = answer.send(ready)
        except StopIteration as done:
            value: V = done.value
            return value

    def fell_silent(self) -> None:
        """Called when the connection has been given up."""

    def _give_up(self) -> None:
        self.pgconn.finish()
        self.fell_silent()
        raise psycopg.OperationalError(f"PostgreSQL said nothing for {SILENCE_SECONDS:.0f} s; the connection is closed")


def bound(pool: ConnectionPool[Any]) -> None:
    """Give a pool that has not been opened yet connections of this kind. When one falls silent, all are made anew."""

    class PooledConnection(BoundedConnection):
        def fell_silent(self) -> None:
            pool.drain()

    if not isinstance(pool.kwargs, dict):
        raise TypeError("the pool's connection parameters must be a dict")
    pool.kwargs.update(PARAMETERS)
    pool.connection_class = PooledConnection


@asynccontextmanager
async def listening(uri: str, channel: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """A connection that hears what is notified on the channel. Raises OperationalError or TimeoutError."""
    async with await psycopg.AsyncConnection.connect(uri, autocommit=True, **PARAMETERS) as connection:
        async with asyncio.timeout(SILENCE_SECONDS):
            await connection.execute(SQL("LISTEN {}").format(Identifier(channel)))
        yield connection
