"""A TCP link between a client and a server, which a test breaks on purpose."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Link:
    """Carries bytes both ways until it is cut. While it is down, connections are refused or ended at once."""

    def __init__(self, host: str, port: int) -> None:
        self._server_address = host, port
        self._writers: set[asyncio.StreamWriter] = set()
        self._up = True
        self._swallows = False
        self._loses_silently = False
        self._lose_answer_to: bytes | None = None
        self.port = 0
        self.answers_lost = 0
        self.refused = 0
        """Connections that were asked for while the link was cut."""

    def cut(self) -> None:
        """End every connection, and take no new one until `mend`."""
        self._up = False
        self._end()

    def swallow(self) -> None:
        """Take what is sent and carry nothing, closing nothing, until `mend`."""
        self._swallows = True

    def mend(self) -> None:
        self._up = True
        self._swallows = False

    def lose_answer_to(self, request: bytes, *, silently: bool = False) -> None:
        """The next request with these bytes reaches the server; its answer is lost, and the connection with it.

        `silently` leaves the connection open: the client waits.
        """
        self._lose_answer_to = request
        self._loses_silently = silently

    def _end(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._up:
            self.refused += 1
            writer.transport.abort()
            return
        server_reader, server_writer = await asyncio.open_connection(*self._server_address)
        self._writers |= {writer, server_writer}
        losing = asyncio.Event()
        await asyncio.gather(
            self._requests(reader, server_writer, losing),
            self._answers(server_reader, writer, losing),
            return_exceptions=True,
        )

    async def _requests(
        self, client: asyncio.StreamReader, server: asyncio.StreamWriter, losing: asyncio.Event
    ) -> None:
        while data := await client.read(65_536):
            if self._lose_answer_to is not None and self._lose_answer_to in data:
                self._lose_answer_to = None
                losing.set()
            if self._swallows:
                continue
            server.write(data)
            await server.drain()
        server.close()

    async def _answers(self, server: asyncio.StreamReader, client: asyncio.StreamWriter, losing: asyncio.Event) -> None:
        while data := await server.read(65_536):
            if losing.is_set():
                self.answers_lost += 1
                if self._loses_silently:
                    losing.clear()
                    continue
                client.transport.abort()
                return
            if self._swallows:
                continue
            client.write(data)
            await client.drain()
        client.close()


@asynccontextmanager
async def link_to(host: str, port: int) -> AsyncIterator[Link]:
    link = Link(host, port)
    listening = await asyncio.start_server(link.carry, "127.0.0.1", 0)
    link.port = listening.sockets[0].getsockname()[1]
    try:
        yield link
    finally:
        link.cut()
        listening.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(listening.wait_closed(), 5)
