"""The sales side of the demo: leads from several sources, and what becomes of them."""

from random import Random
from typing import Any

from crm_local.demo import texts
from crm_local.demo.people import Person
from crm_local.demo.scene import Scene
from crm_local.demo.script import Act, LookUp, Named, Post, Story

_ROLE = "sales"
_STAGES = ("proposal", "negotiation")
_OUTCOMES = {"new": 35, "qualified": 15, "disqualified": 20, "converted": 30}
_DEAL_ENDS = {"open": 55, "won": 28, "lost": 17}
_STRANGERS = 0.3


def work_leads(count: int, scene: Scene) -> Act:
    """The first lead is of the first contact, and is won."""
    random = scene.random
    stories = [_lead(0, scene.contacts[0], "converted", "won", scene)]
    for number in range(1, count):
        person = random.choice(scene.strangers if random.random() < _STRANGERS else scene.contacts)
        stories.append(_lead(number, person, _draw(_OUTCOMES, random), _draw(_DEAL_ENDS, random), scene))
    return Act("Leads and deals", tuple(stories))


def _lead(number: int, person: Person, outcome: str, deal_ends: str, scene: Scene) -> Story:
    random = scene.random
    lead = Named(f"lead/{number}")
    party = {"email": person.email, "name": person.name}
    body = {
        "party": party,
        "source": random.choice(texts.LEAD_SOURCES),
        "message": random.choice(texts.INQUIRIES),
        "occurred_at": scene.clock.lately(),
    }
    story = [Post(lead.name, ("/api/leads",), _ROLE, body)]
    if outcome == "disqualified":
        story.append(_on_lead(lead, "disqualify", {"reason": random.choice(texts.DISQUALIFIED)}))
    if outcome in {"qualified", "converted"}:
        story.append(_on_lead(lead, "qualify", {"score": random.randint(40, 100)}))
    if outcome == "converted":
        return (*story, *_deal(number, lead, person, deal_ends, scene))
    return tuple(story)


def _deal(number: int, lead: Named, person: Person, ends: str, scene: Scene) -> Story:
    random = scene.random
    deal = Named(f"opportunity/{number}")
    terms = {
        "title": f"{random.choice(texts.DEALS)} for {person.organisation or person.name}",
        "value": {"amount": f"{random.randint(3, 180) * 50}.00", "currency": "GBP"},
        "expected_close": scene.clock.date_ahead(),
    }
    stages = _STAGES[: random.randint(0, 2) if ends == "open" else 2]
    story: list[Post | LookUp] = [
        _on_lead(lead, "convert", terms),
        LookUp(deal.name, ("/api/leads", lead), _ROLE, "opportunity_id"),
        *(_on_deal(deal, stage, "stage", {"stage": stage}) for stage in stages),
    ]
    if ends == "won":
        story.append(_on_deal(deal, "win", "win", {}))
    if ends == "lost":
        story.append(_on_deal(deal, "lose", "lose", {"reason": random.choice(texts.LOST)}))
    return tuple(story)


def _on_lead(lead: Named, what: str, body: dict[str, Any]) -> Post:
    return Post(f"{lead.name}/{what}", ("/api/leads", lead, what), _ROLE, body)


def _on_deal(deal: Named, name: str, what: str, body: dict[str, Any]) -> Post:
    return Post(f"{deal.name}/{name}", ("/api/opportunities", deal, what), _ROLE, body)


def _draw(weights: dict[str, int], random: Random) -> str:
    return random.choices(list(weights), list(weights.values()))[0]
