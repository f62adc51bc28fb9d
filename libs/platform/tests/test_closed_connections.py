"""A client outlives a connection that closes under it."""

import asyncio

import pytest
import uvloop
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

import crm_platform.kafka  # noqa: F401 - as every client of the platform is made

pytestmark = pytest.mark.integration


def test_a_request_on_a_connection_that_has_just_closed_is_told_as_a_lost_connection(bootstrap: str) -> None:
    """On uvloop, as every process of the platform runs, and at each step from closing to being noticed closed."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for steps in range(4):
            runner.run(_send_behind_a_close(bootstrap, steps))


async def _send_behind_a_close(bootstrap: str, steps: int) -> None:
    host, _, port = bootstrap.partition(":")
    connection = await create_conn(host, int(port), request_timeout_ms=1_000)
    connection._writer.transport.abort()
    for _ in range(steps):
        await asyncio.sleep(0)
    with pytest.raises((KafkaConnectionError, TimeoutError)):
        await connection.send(MetadataRequest([]))
