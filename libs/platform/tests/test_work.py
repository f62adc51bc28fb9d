"""The unit of work: what commands of one group see of each other, and what a refused one leaves."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from libs.platform.tests.shop import Purchase, PurchaseNoted

from crm_events.envelope import Recorded, event_id
from crm_events.event import Event
from crm_platform.aggregate import Aggregate
from crm_platform.errors import NotFound, VersionMismatch
from crm_platform.testing import SOME_STREAM, SOME_TIME, recorded, story_id
from crm_platform.work import Staging, StoredStream, UnitOfWork


class Ledger(Aggregate):
    """Another kind that reads the same stream."""

    def __init__(self, id: UUID) -> None:  # noqa: A002 - the aggregate's id
        super().__init__(id)
        self.seen = 0

    def close(self) -> None:
        self.record(PurchaseNoted(occurred_at=SOME_TIME, text="closed"))

    def apply(self, event: Event) -> None:  # noqa: ARG002 - it only counts
        self.seen += 1


class Stored:
    """What is stored, and how often it was asked for."""

    def __init__(self, *events: Recorded[Event]) -> None:
        self.events = events
        self.loads: list[set[UUID]] = []

    def __call__(self, streams: Iterable[UUID]) -> Mapping[UUID, StoredStream]:
        wanted = set(streams)
        self.loads.append(wanted)
        histories = {s: [e for e in self.events if e.subject == s] for s in wanted}
        return {stream: StoredStream(history, b"") for stream, history in histories.items() if history}


def _opened(block: Any, kind: Any) -> Any:
    raise AssertionError(f"nothing here opens {block} as {kind}")


@pytest.fixture
def stored() -> Stored:
    return Stored(recorded(PurchaseNoted(occurred_at=SOME_TIME, text="first"), time=SOME_TIME))


@pytest.fixture
def staging(stored: Stored) -> Staging:
    return Staging(stored, "/crm/shop")


@pytest.fixture
def work(staging: Staging) -> Callable[..., UnitOfWork]:
    def begin(now: datetime = SOME_TIME, **order: Any) -> UnitOfWork:
        circumstances = {"actor": "ada", "causation": "cause", "correlation": "story"}
        return UnitOfWork(staging, _opened, now=now, **{**circumstances, **order})

    return begin


def _note(work: UnitOfWork, text: str, stream: UUID = SOME_STREAM) -> Purchase:
    purchase = work.load(Purchase, stream)
    purchase.note(text)
    return work.save(purchase)


def _texts(staging: Staging) -> list[str]:
    return [e.data.text for e in staging.staged if isinstance(e.data, PurchaseNoted)]


def test_a_later_command_sees_the_events_of_an_earlier_one(work: Callable[..., UnitOfWork], staging: Staging) -> None:
    earlier, later = work(), work()
    _note(earlier, "second")
    earlier.commit()
    assert _note(later, "third").notes == ["first", "second", "third"]
    later.commit()
    assert [e.sequence for e in staging.staged] == [2, 3]
    assert [e.id for e in staging.staged] == [event_id(SOME_STREAM, 2), event_id(SOME_STREAM, 3)]


def test_a_refused_command_leaves_nothing(work: Callable[..., UnitOfWork], staging: Staging) -> None:
    refused, later = work(), work()
    _note(refused, "refused")
    refused.discard()
    assert _note(later, "second").notes == ["first", "second"]
    later.commit()
    assert _texts(staging) == ["second"]


def test_what_a_command_did_not_save_is_not_stored_by_the_next_one(
    work: Callable[..., UnitOfWork], staging: Staging
) -> None:
    hesitant, later = work(), work()
    hesitant.load(Purchase, SOME_STREAM).note("not saved")
    hesitant.commit()
    assert _note(later, "second").notes == ["first", "second"]
    later.commit()
    assert _texts(staging) == ["second"]


def test_a_stream_read_as_two_kinds_shows_both_the_same_history(
    work: Callable[..., UnitOfWork], staging: Staging
) -> None:
    first, second = work(), work()
    assert first.load(Ledger, SOME_STREAM).seen == 1
    _note(first, "second")
    first.commit()
    ledger = second.load(Ledger, SOME_STREAM)
    assert (ledger.seen, ledger.version) == (2, 2)
    ledger.close()
    second.save(ledger)
    second.commit()
    assert [e.sequence for e in staging.staged] == [2, 3]
    assert work().load(Purchase, SOME_STREAM).notes == ["first", "second", "closed"]


def test_one_command_cannot_save_a_stream_as_two_kinds(work: Callable[..., UnitOfWork], staging: Staging) -> None:
    confused = work()
    _note(confused, "second")
    ledger = confused.load(Ledger, SOME_STREAM)
    ledger.close()
    with pytest.raises(TypeError, match="two kinds"):
        confused.save(ledger)
    assert staging.staged == []


def test_a_refused_command_that_read_a_stream_as_two_kinds_leaves_neither(work: Callable[..., UnitOfWork]) -> None:
    refused = work()
    refused.load(Purchase, SOME_STREAM).note("refused")
    refused.load(Ledger, SOME_STREAM).close()
    refused.discard()
    later = work()
    assert later.load(Purchase, SOME_STREAM).notes == ["first"]
    assert later.load(Ledger, SOME_STREAM).seen == 1


def test_time_never_goes_back_in_a_stream(work: Callable[..., UnitOfWork], staging: Staging) -> None:
    an_hour = timedelta(hours=1)
    for now in (SOME_TIME - an_hour, SOME_TIME + an_hour, SOME_TIME):
        late = work(now)
        _note(late, "late")
        _note(late, "elsewhere", story_id(str(now)))
        late.commit()
    times = [e.time for e in staging.staged if e.subject == SOME_STREAM]
    assert times == [SOME_TIME, SOME_TIME + an_hour, SOME_TIME + an_hour]
    elsewhere = [e.time for e in staging.staged if e.subject != SOME_STREAM]
    assert elsewhere == [SOME_TIME - an_hour, SOME_TIME + an_hour, SOME_TIME]


def test_an_event_says_who_why_and_in_which_story(work: Callable[..., UnitOfWork], staging: Staging) -> None:
    told = work()
    _note(told, "second")
    told.commit()
    (event,) = staging.staged
    assert (event.actor, event.causation, event.correlation, event.source) == ("ada", "cause", "story", "/crm/shop")


def test_the_streams_of_a_group_are_loaded_once(
    work: Callable[..., UnitOfWork], staging: Staging, stored: Stored
) -> None:
    others = {story_id("a"), story_id("b")}
    staging.prefetch([SOME_STREAM, *others])
    for stream in (SOME_STREAM, *others):
        work().load(Purchase, stream)
    assert stored.loads == [{SOME_STREAM, *others}]


def test_the_target_must_exist_at_the_version_that_the_client_saw(work: Callable[..., UnitOfWork]) -> None:
    assert work(target=SOME_STREAM, if_match=1).target(Purchase).version == 1
    with pytest.raises(VersionMismatch, match="at version 1, not 2"):
        work(target=SOME_STREAM, if_match=2).target(Purchase)
    with pytest.raises(NotFound):
        work(target=story_id("nothing")).target(Purchase)
