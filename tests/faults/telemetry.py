"""I10: what the processes say of themselves on /metrics, compared with what the stores say."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from types import MappingProxyType

import aiohttp
from ledger import EVENT_STORING
from prometheus_client.parser import text_string_to_metric_families

from crm_local.stack import Stack

CONSUMED = "crm_events_consumed_total"
PARKED_KEYS, PARKED_EVENTS = "crm_parked_keys", "crm_parked_events"

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def scrape(stack: Stack, session: aiohttp.ClientSession, part: str) -> Samples:
    """Every sample of a part, by name and labels."""
    async with session.get(f"{stack.addresses.service_url(part)}/metrics") as answer:
        text = await answer.text()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def total(samples: Samples, name: str) -> float:
    return sum(value for (known, _), value in samples.items() if known == name)


@dataclass(frozen=True)
class Counted:
    """What the processes had counted at a moment, and what the stores, the topics and the cursors held."""

    pids: Mapping[str, int]
    samples: Mapping[str, Samples]
    events: Mapping[str, int]
    records: Mapping[str, int]
    read: Mapping[str, int]
    """How many records each consumer had dealt with, by its cursors."""


QUIET = (
    "crm_consumer_lag_events",
    "crm_consumer_stuck",
    "crm_gap_open",
    PARKED_EVENTS,
    PARKED_KEYS,
    "crm_records_lost",
    "crm_relay_lag_seconds",
    "crm_relay_stopped",
)
"""Gauges that say 0 of a platform at rest; they are taken every few seconds."""


def loud(samples: Mapping[str, Samples], parked: Mapping[str, int] = MappingProxyType({})) -> list[str]:
    """What does not say what it should, 0: something lags, is parked or stuck, a gap is open, a relay stands.

    `parked` is how many keys each consumer has parked: its gauges say that, and no other's say anything.
    """
    return [
        f"I10: {part} says {name} {dict(labels)} {value:.0f} at rest"
        for part, found in samples.items()
        for (name, labels), value in found.items()
        if name in QUIET and not _as_told(name, value, parked.get(dict(labels).get("consumer", ""), 0))
    ]


def _as_told(name: str, value: float, keys: int) -> bool:
    if name == PARKED_KEYS:
        return value == keys
    return value >= keys if name == PARKED_EVENTS and keys else value == 0


def agree(before: Counted, after: Counted, services: AbstractSet[str], *, exact: bool) -> None:
    """The counters of processes that lived on moved as the stores did.

    `exact` is false where a database was taken away: work whose answer was lost is done, and counted by nobody.
    """
    for service in services:
        if before.pids[service] != after.pids[service]:
            continue
        was, now = before.samples[service], after.samples[service]
        if service in EVENT_STORING:
            appended = total(now, "crm_events_appended_total") - total(was, "crm_events_appended_total")
            _compare(f"{service} appended", appended, after.events[service] - before.events[service], exact=exact)
            published = total(now, "crm_events_published_total") - total(was, "crm_events_published_total")
            _compare(f"{service} published", published, after.records[service] - before.records[service], exact=False)
        for consumer in _consumers(now):
            consumed = _consumed(now, consumer) - _consumed(was, consumer)
            _compare(f"{consumer} consumed", consumed, after.read[consumer] - before.read.get(consumer, 0), exact=exact)


def _compare(what: str, counted: float, real: int, *, exact: bool) -> None:
    assert counted == real or (not exact and counted <= real), f"I10: {what} {counted:.0f} events, really {real}"


def _consumers(samples: Samples) -> set[str]:
    return {dict(labels)["consumer"] for name, labels in samples if name == CONSUMED}


def _consumed(samples: Samples, consumer: str) -> float:
    mine = ("consumer", consumer)
    return sum(value for (name, labels), value in samples.items() if name == CONSUMED and mine in labels)


def of_consumer(samples: Samples, name: str, consumer: str, topic: str) -> float:
    """What a series says of a consumer and a topic, over all its other labels; 0 where it says nothing."""
    wanted = {("consumer", consumer), ("topic", topic)}
    return sum(value for (known, labels), value in samples.items() if known == name and wanted <= set(labels))


def consumers_that_say(samples: Samples, name: str = PARKED_KEYS) -> set[str]:
    """The consumers of which a series says anything but 0."""
    return {dict(labels)["consumer"] for (known, labels), value in samples.items() if known == name and value}
