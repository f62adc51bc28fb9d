"""The service side of the demo: tickets, and how far each one comes."""

from typing import Any

from crm_local.demo import names, texts
from crm_local.demo.people import contact
from crm_local.demo.scene import Scene
from crm_local.demo.script import Act, Named, Post, Story

_ROLE = "service"
_CHANNELS = ("email", "call", "chat", "web")
_PRIORITIES = {"low": 20, "normal": 50, "high": 22, "urgent": 8}
_LENGTHS = {1: 12, 2: 13, 3: 15, 4: 10, 5: 35, 6: 7, 7: 8}
"""How many steps of its course a ticket takes, and how often."""
_WHOLE_COURSE = max(_LENGTHS)


def answer_tickets(count: int, scene: Scene) -> Act:
    """The first ticket is the first contact's, and goes its whole course."""
    random = scene.random
    stories = [_ticket(0, 0, _WHOLE_COURSE, scene)]
    for number in range(1, count):
        who = random.randrange(len(scene.contacts))
        length = random.choices(list(_LENGTHS), list(_LENGTHS.values()))[0]
        stories.append(_ticket(number, who, length, scene))
    return Act("Tickets", tuple(stories))


def _ticket(number: int, who: int, length: int, scene: Scene) -> Story:
    random, person = scene.random, scene.contacts[who]
    ticket = Named(f"ticket/{number}")
    subject, body = random.choice(texts.PROBLEMS)
    party = {"contact_id": contact(who)} if random.random() < 0.3 else {"email": person.email, "name": person.name}
    request = {
        "party": party,
        "channel": random.choice(_CHANNELS),
        "priority": random.choices(list(_PRIORITIES), list(_PRIORITIES.values()))[0],
        "subject": subject,
        "body": body,
        "occurred_at": scene.clock.today() if random.random() < 0.7 else scene.clock.lately(),
    }
    agent = random.choice(names.STAFF)
    course = (
        Post(ticket.name, ("/api/tickets",), _ROLE, request),
        _step(ticket, 1, "assign", {"agent": agent}),
        _step(ticket, 2, "reply", {"body": random.choice(texts.FIRST_REPLIES), "author": "agent"}),
        _step(ticket, 3, "reply", {"body": random.choice(texts.CUSTOMER_REPLIES), "author": "customer"}),
        _step(ticket, 4, "resolve", {"note": random.choice(texts.RESOLUTIONS)}),
        _step(ticket, 5, "reopen", {"note": texts.REOPENED}),
        _step(ticket, 6, "resolve", {"note": random.choice(texts.RESOLUTIONS)}),
    )
    return course[:length]


def _step(ticket: Named, number: int, what: str, body: dict[str, Any]) -> Post:
    return Post(f"{ticket.name}/{number}", ("/api/tickets", ticket, what), _ROLE, body)
