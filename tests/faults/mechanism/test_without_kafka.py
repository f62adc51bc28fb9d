"""F09 at the event store: commands go on without Kafka, also those about people whom nobody knew before."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from libs.platform.tests.shop_store import Shop
from libs.platform.tests.waiting import eventually

from crm_platform.key_pool import KafkaKeyPool
from crm_platform.sealing import InstallationKey

COMMANDS = 300


@pytest.mark.row("F09", f"Kafka goes away; {COMMANDS} commands about new people", "I1, none is refused")
async def test_commands_about_new_people_are_accepted_without_kafka(
    bootstrap: str, installation: InstallationKey, open_store: Callable[..., Awaitable[Shop]]
) -> None:
    pool = KafkaKeyPool(bootstrap, installation, "shop")
    filling = asyncio.create_task(pool.run())
    await eventually(lambda: pool.ready)
    filling.cancel()
    await asyncio.gather(filling, return_exceptions=True)
    shop = await open_store(pool=pool)
    receipts = await asyncio.gather(*(shop.make() for _ in range(COMMANDS)))
    assert {receipt.id for receipt in receipts} == {row["originator_id"] for row in shop.stored()}
