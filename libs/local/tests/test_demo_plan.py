"""The demo's day, before anything of it is played."""

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_events.adapter import Channel, InteractionRecorded
from crm_local.demo.memory import beginning
from crm_local.demo.people import SEEDS
from crm_local.demo.plan import FEWEST_CONTACTS, plan_day
from crm_local.demo.script import Day, LookUp, Post, names_in, resolve
from crm_local.errors import LocalStackError
from crm_local.folder import StateFolder

_NOW = datetime(2026, 3, 4, 15, 30, tzinfo=UTC)
_SEEDS = st.integers(SEEDS.start, SEEDS.stop - 1)
_FICTIONAL_MAIL = re.compile(r"[a-z.0-9]+@([a-z]+\.)?example\.(org|com|net)")


def _bodies(day: Day, path: str) -> list[dict[str, object]]:
    return [dict(step.body) for step in day.steps() if isinstance(step, Post) and step.path == (path,)]


def _identifiers(day: Day) -> list[tuple[str, str]]:
    registered = _bodies(day, "/api/contacts")
    return [(each["kind"], each["value"]) for body in registered for each in body["identifiers"]]  # type: ignore[attr-defined]


@settings(max_examples=20)
@given(_SEEDS, st.integers(FEWEST_CONTACTS, 60))
def test_the_same_seed_gives_the_same_day(seed: int, contacts: int) -> None:
    assert plan_day(seed, contacts, _NOW) == plan_day(seed, contacts, _NOW)


def test_another_seed_gives_another_day_with_people_of_its_own() -> None:
    one, other = plan_day(1, 300, _NOW), plan_day(2, 300, _NOW)
    assert not set(_identifiers(one)) & set(_identifiers(other))
    ids = [{(each.source, each.interaction["external_id"]) for each in day.messages} for day in (one, other)]
    assert not ids[0] & ids[1]


@settings(max_examples=20)
@given(_SEEDS, st.integers(FEWEST_CONTACTS, 60))
def test_every_step_has_a_name_of_its_own_and_needs_only_what_was_done_before(seed: int, contacts: int) -> None:
    day = plan_day(seed, contacts, _NOW)
    names = [step.name for step in day.steps()]
    assert len(names) == len(set(names))
    known: set[str] = set()
    for act in day.acts:
        done_in_this_act = set()
        for story in act.stories:
            done_in_this_story: set[str] = set()
            for step in story:
                needed = chain(names_in(step.path), names_in(step.body if isinstance(step, Post) else ()))
                assert set(needed) <= known | done_in_this_story
                done_in_this_story.add(step.name)
            done_in_this_act |= done_in_this_story
        known |= done_in_this_act
    assert {name for each in day.messages for name in names_in(each.interaction)} <= known


def test_every_interaction_is_within_the_contract_and_has_an_id_of_its_own() -> None:
    day = plan_day(1, 300, _NOW)
    ids = {step.name: "6f6b7ad2-6a0e-5a35-9d5e-6d0f2f3c1b11" for step in day.steps()}
    records = [InteractionRecorded.model_validate(resolve(each.interaction, ids)) for each in day.messages]
    assert len({(each.source, each.interaction["external_id"]) for each in day.messages}) == len(records) > 3_000
    assert {record.channel for record in records} == set(Channel) - {Channel.LETTER}
    assert all(record.occurred_at <= _NOW + timedelta(seconds=5) for record in records)


def test_nobody_outside_could_be_reached_by_an_address_or_number_of_the_demo() -> None:
    for seed in (SEEDS.start, SEEDS.stop - 1):
        for kind, value in _identifiers(plan_day(seed, 300, _NOW)):
            if kind == "email":
                assert _FICTIONAL_MAIL.fullmatch(value)
            if kind == "phone":
                # The ranges end in 4960xxx and the like: ten digits after the country code, the last three free.
                assert re.fullmatch(r"\+44(11[34678]496|1[2-6]1496|2079460|191498|2896496|2920180)0?\d{3}", value)


def test_a_firm_of_three_hundred_contacts_has_a_busy_day() -> None:
    day = plan_day(1, 300, _NOW)
    leads, tickets = _bodies(day, "/api/leads"), _bodies(day, "/api/tickets")
    assert (len(_bodies(day, "/api/contacts")), len(leads), len(tickets)) == (300, 120, 81)
    assert len({lead["source"] for lead in leads}) > 3
    done = Counter(step.path[-1] for step in day.steps() if isinstance(step, Post))
    for what in ("qualify", "disqualify", "convert", "stage", "win", "lose", "assign", "reply", "resolve", "reopen"):
        assert done[what] > 0, what
    assert done["launch"] == len(_bodies(day, "/api/campaigns")) == 2


def test_the_suggested_customer_lives_through_everything() -> None:
    day = plan_day(1, 300, _NOW)
    first = _bodies(day, "/api/contacts")[0]
    assert {"kind": "email", "value": day.hero} in first["identifiers"]  # type: ignore[operator]
    lead_story = day.acts[2].stories[0]
    assert lead_story[0].body["party"]["email"] == day.hero  # type: ignore[union-attr]
    assert [step.path[-1] for step in lead_story if not isinstance(step, LookUp)][-1] == "win"
    assert [step.path[-1] for step in day.acts[3].stories[0]][-2:] == ["reopen", "resolve"]
    channels = {each.interaction["channel"] for each in day.messages if each.about == 0}
    assert channels == set(Channel) - {Channel.LETTER}


@pytest.mark.parametrize(("seed", "contacts"), [(0, 300), (51, 300), (1, 9), (1, 2_001)])
def test_a_day_outside_the_bounds_is_refused(seed: int, contacts: int) -> None:
    with pytest.raises(ValueError, match="a seed of 1 to 50 and 10 to 2000 contacts"):
        plan_day(seed, contacts, _NOW)


def test_a_later_run_resumes_the_day_that_was_begun(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    begun = beginning(folder, 1, 300)
    assert beginning(folder, 1, 300) == begun


def test_a_day_is_not_resumed_with_another_number_of_contacts(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    beginning(folder, 1, 300)
    with pytest.raises(LocalStackError, match="begun with 300 contacts"):
        beginning(folder, 1, 200)
