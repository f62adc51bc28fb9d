"""The whole day, planned before anything is done: a pure function of seed, size and moment."""

from datetime import datetime
from random import Random

from crm_local.demo.clock import Clock
from crm_local.demo.desk import answer_tickets
from crm_local.demo.outreach import answers, choose_enrolled, enrol, launch_campaigns
from crm_local.demo.people import SEEDS, invent_people, register
from crm_local.demo.sales import work_leads
from crm_local.demo.scene import Scene
from crm_local.demo.script import Day
from crm_local.demo.traffic import exchange

FEWEST_CONTACTS = 10
MOST_CONTACTS = 2_000
_INTERACTIONS_EACH = 10
_LEADS = 0.4
_TICKETS = 0.27
_STRANGERS = 0.12


def plan_day(seed: int, contacts: int, now: datetime) -> Day:
    """A day of a small firm with that many contacts, that ends `now`.

    The same arguments give the same day. Raises ValueError for a seed or size outside the bounds.
    """
    if seed not in SEEDS or not FEWEST_CONTACTS <= contacts <= MOST_CONTACTS:
        raise ValueError(
            f"a day has a seed of {SEEDS.start} to {SEEDS.stop - 1} and {FEWEST_CONTACTS} to {MOST_CONTACTS} contacts"
        )
    random = Random(f"{seed}/{contacts}")  # noqa: S311 - a play, not a secret
    clock = Clock(now, random)
    strangers = max(1, int(contacts * _STRANGERS))
    people = invent_people(seed, contacts + strangers, random)
    scene = Scene(seed, people[:contacts], people[contacts:], clock, random)
    enrolled = choose_enrolled(contacts, random)
    acts = (
        register(scene.contacts, clock, random),
        launch_campaigns(),
        work_leads(int(contacts * _LEADS), scene),
        answer_tickets(int(contacts * _TICKETS), scene),
        enrol(enrolled),
    )
    messages = exchange(contacts * _INTERACTIONS_EACH, scene) + answers(enrolled, scene)
    return Day(acts=acts, messages=tuple(messages), hero=scene.contacts[0].email)
