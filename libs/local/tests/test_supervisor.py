import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest

from crm_local.crash import order_crash
from crm_local.errors import LocalStackError
from crm_local.folder import StateFolder
from crm_local.part import Part
from crm_local.plan import Plan
from crm_local.process import ProcessIdentity
from crm_local.state import PartRecord, PartState, Phase, StackRecord, read_record
from crm_local.supervisor import Supervisor

Living = Callable[[str], Part]
PlanOf = Callable[..., Plan]


class Onlooker:
    """Sees what the supervisor reports, and waits for it."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, PartState]] = []
        self.record: StackRecord | None = None
        self._changed = asyncio.Event()

    def watch(self, record: StackRecord) -> None:
        self.record = record.model_copy(deep=True)
        for part in record.parts.values():
            if (part.name, part.state) not in self.seen[-len(record.parts) :]:
                self.seen.append((part.name, part.state))
        self._changed.set()

    async def until(self, condition: Callable[[StackRecord], bool]) -> StackRecord:
        async with asyncio.timeout(20):
            while self.record is None or not condition(self.record):
                self._changed.clear()
                await self._changed.wait()
        return self.record


@asynccontextmanager
async def running(plan: Plan) -> AsyncIterator[Onlooker]:
    onlooker = Onlooker()
    supervisor = Supervisor(plan, onlooker.watch)
    task = asyncio.create_task(supervisor.run())
    try:
        await onlooker.until(lambda record: record.phase is Phase.RUNNING)
        yield onlooker
    finally:
        supervisor.request_stop()
        await task


def process_of(part: PartRecord) -> ProcessIdentity:
    assert part.process is not None
    return part.process


async def test_a_part_that_is_killed_is_started_again(living: Living, plan_of: PlanOf) -> None:
    async with running(plan_of(living("one"), living("two"))) as onlooker:
        assert onlooker.record is not None
        first = process_of(onlooker.record.parts["one"])
        other = process_of(onlooker.record.parts["two"])
        os.kill(first.pid, signal.SIGKILL)
        after = await onlooker.until(
            lambda record: record.parts["one"].restarts == 1 and record.parts["one"].state is PartState.READY
        )
        assert process_of(after.parts["one"]) != first
        assert process_of(after.parts["two"]) == other


async def test_a_stop_leaves_no_process(living: Living, plan_of: PlanOf, folder: StateFolder) -> None:
    async with running(plan_of(living("one"), services=(living("two"),))) as onlooker:
        assert onlooker.record is not None
        processes = [process_of(part) for part in onlooker.record.parts.values()]
        assert all(process.find() for process in processes)
    assert not any(process.find() for process in processes)
    left = read_record(folder)
    assert left is not None
    assert {part.state for part in left.parts.values()} == {PartState.STOPPED}


async def test_services_start_after_the_infrastructure_and_stop_before_it(living: Living, plan_of: PlanOf) -> None:
    async with running(plan_of(living("store"), services=(living("service"),))) as onlooker:
        pass
    order = [
        change for change in onlooker.seen if change[1] in (PartState.STARTING, PartState.READY, PartState.STOPPED)
    ]
    assert order.index(("store", PartState.READY)) < order.index(("service", PartState.STARTING))
    assert order.index(("service", PartState.STOPPED)) < order.index(("store", PartState.STOPPED))


async def test_a_part_that_never_comes_up_fails_the_start_with_its_last_words(
    living: Living, dying: Part, plan_of: PlanOf
) -> None:
    onlooker = Onlooker()
    with pytest.raises(LocalStackError, match=r"(?s)dying ended with exit code 3.*no such setting"):
        await Supervisor(plan_of(living("one"), dying), onlooker.watch).run()
    assert onlooker.record is not None
    assert {part.state for part in onlooker.record.parts.values()} == {PartState.STOPPED}


async def test_a_part_that_does_not_stop_when_asked_is_killed(stubborn: Part, plan_of: PlanOf) -> None:
    async with running(plan_of(stubborn)) as onlooker:
        assert onlooker.record is not None
        process = process_of(onlooker.record.parts["stubborn"])
    assert process.find() is None


async def test_a_held_part_stays_down_until_it_is_released(
    living: Living, plan_of: PlanOf, folder: StateFolder
) -> None:
    async with running(plan_of(living("one"))) as onlooker:
        (folder.held / "one").touch()
        held = await onlooker.until(lambda record: record.parts["one"].state is PartState.HELD)
        assert held.parts["one"].process is None
        (folder.held / "one").unlink()
        back = await onlooker.until(lambda record: record.parts["one"].state is PartState.READY)
        assert back.parts["one"].restarts == 0


async def test_an_ordered_crash_is_told_to_the_next_start_only(
    telling: Part, folder: StateFolder, plan_of: PlanOf
) -> None:
    async with running(plan_of(telling)) as onlooker:
        order_crash(folder, "telling", "relay.after-send", 3)
        for restarts in (1, 2):
            assert onlooker.record is not None
            os.kill(process_of(onlooker.record.parts["telling"]).pid, signal.SIGKILL)
            await onlooker.until(partial(_is_ready_after, "telling", restarts))
    assert folder.log("telling").read_text().split() == ["nowhere", "relay.after-send:3", "nowhere"]


def _is_ready_after(part: str, restarts: int, record: StackRecord) -> bool:
    return record.parts[part].restarts == restarts and record.parts[part].state is PartState.READY


async def test_what_a_part_prints_is_in_its_log(living: Living, plan_of: PlanOf, folder: StateFolder) -> None:
    async with running(plan_of(living("one"))):
        assert "hello from the part" in folder.log("one").read_text()
