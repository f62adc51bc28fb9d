"""A service that gives no answer is left alone for a while; the others, and it once it is back, are not."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from prometheus_client import REGISTRY

from crm_gateway.breaker import FAILURES
from crm_gateway.services import MOST_IN_WORK, ServiceRequest, Services
from crm_platform.errors import Unavailable

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
LEADS = ServiceRequest("GET", "/leads", {}, b"")


class Moody:
    """A service that answers or stays silent, as it is told."""

    def __init__(self) -> None:
        self.silent = False
        self.asked: list[str] = []
        self._released = asyncio.Event()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request.path)
        if self.silent:
            await self._released.wait()
        return web.json_response({"ok": True})

    def release(self) -> None:
        self.silent = False
        self._released.set()


class Clock:
    """A clock that a test puts forward."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def shed(reason: str) -> float:
    return REGISTRY.get_sample_value("crm_requests_shed_total", {"reason": reason}) or 0.0


async def refused(services: Services) -> Unavailable:
    with pytest.raises(Unavailable) as refusal:
        await services.send("sales", LEADS)
    return refusal.value


async def opened(services: Services) -> None:
    await asyncio.gather(*(refused(services) for _ in range(FAILURES)))


async def test_after_a_run_of_silence_it_is_refused_at_once_and_the_others_are_served(services: Any) -> None:
    sales, contacts = Moody(), Moody()
    async with services(sales.answer) as slow, services(contacts.answer) as well:
        behind = Services({"sales": slow.url, "contacts": well.url}, within_seconds=0.3)
        sales.silent = True
        await opened(behind)
        before, asked = shed("breaker"), len(sales.asked)

        began = time.monotonic()
        refusals = [await refused(behind) for _ in range(20)]

        assert time.monotonic() - began < 0.2, "nobody waits for a service that is left alone"
        assert {refusal.retry_after for refusal in refusals} == {1}
        assert len(sales.asked) == asked, "and it is asked nothing"
        assert shed("breaker") - before == 20
        assert (await behind.send("contacts", LEADS)).status == 200
        sales.release()
        await behind.close()


async def test_a_refused_connection_counts_as_silence(services: Any) -> None:
    async with services(Moody().answer) as gone:
        url = gone.url
    behind = Services({"sales": url})
    for _ in range(FAILURES):
        await refused(behind)
    before = shed("breaker")

    await refused(behind)

    assert shed("breaker") - before == 1
    await behind.close()


async def test_a_refusal_is_an_answer_too(services: Any) -> None:
    async def unwell(_: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"status": 503}, status=503)

    async with services(unwell) as service:
        behind = Services({"sales": service.url})
        answers = [await behind.send("sales", LEADS) for _ in range(3 * FAILURES)]

        assert [answer.status for answer in answers] == [503] * 3 * FAILURES
        await behind.close()


async def test_it_is_served_again_soon_after_it_is_back_and_found_out_by_a_probe(services: Any) -> None:
    sales, clock = Moody(), Clock()
    async with services(sales.answer) as service:
        behind = Services({"sales": service.url}, within_seconds=0.2, clock=clock)
        sales.silent = True
        await opened(behind)
        while clock.now < 2:  # clients that keep asking, as clients do
            await refused(behind)
            clock.now += 0.05
        assert set(sales.asked[FAILURES:]) == {"/livez"}, "no client's request is risked to find out"

        sales.release()
        back = clock.now
        while True:
            try:
                answer = await behind.send("sales", LEADS)
            except Unavailable:
                clock.now += 0.05
            else:
                break

        assert answer.status == 200
        assert clock.now - back < 5
        await behind.close()


async def test_one_at_a_time_asks_whether_it_is_back(services: Any) -> None:
    sales, clock = Moody(), Clock()
    async with services(sales.answer) as service:
        behind = Services({"sales": service.url}, within_seconds=0.2, clock=clock)
        sales.silent = True
        await opened(behind)
        clock.now += 0.6  # longer than the first wait: the next request probes

        await asyncio.gather(*(refused(behind) for _ in range(50)))

        assert sales.asked[FAILURES:] == ["/livez"]
        sales.release()
        await behind.close()


async def test_a_slow_service_takes_no_more_than_its_share_of_the_room(services: Any) -> None:
    sales, contacts = Moody(), Moody()
    async with services(sales.answer) as slow, services(contacts.answer) as well:
        behind = Services({"sales": slow.url, "contacts": well.url})
        sales.silent = True
        waiting = [asyncio.create_task(behind.send("sales", LEADS)) for _ in range(MOST_IN_WORK)]
        await asyncio.sleep(0)

        refusal = await refused(behind)

        assert "Too many requests wait for the sales service" in str(refusal)
        assert (await behind.send("contacts", LEADS)).status == 200
        sales.release()
        assert {answer.status for answer in await asyncio.gather(*waiting)} == {200}
        assert (await behind.send("sales", LEADS)).status == 200
        await behind.close()
