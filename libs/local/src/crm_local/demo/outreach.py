"""The marketing side of the demo: campaigns, who is in them, who answers."""

from random import Random

from crm_events.adapter import Channel
from crm_local.demo import texts
from crm_local.demo.people import contact
from crm_local.demo.scene import Scene
from crm_local.demo.script import Act, Message, Named, Post

_ROLE = "marketing"
_ANSWERING = 0.35

Enrolled = list[list[int]]
"""For each campaign the numbers of the contacts that are in it."""


def choose_enrolled(contacts: int, random: Random) -> Enrolled:
    """The first contact is in every campaign."""
    return [[0, *sorted(random.sample(range(1, contacts), int(part * contacts)))] for _, _, part in texts.CAMPAIGNS]


def launch_campaigns() -> Act:
    stories = (
        (
            Post(_campaign(number).name, ("/api/campaigns",), _ROLE, {"name": name, "channel": channel.value}),
            Post(f"{_campaign(number).name}/launch", ("/api/campaigns", _campaign(number), "launch"), _ROLE, {}),
        )
        for number, (name, channel, _) in enumerate(texts.CAMPAIGNS)
    )
    return Act("Campaigns", tuple(stories))


def enrol(enrolled: Enrolled) -> Act:
    stories = ((_enrol(campaign, who),) for campaign, contacts in enumerate(enrolled) for who in contacts)
    return Act("Enrolments", tuple(stories))


def answers(enrolled: Enrolled, scene: Scene) -> list[Message]:
    """Interactions that answer a campaign; the first contact answers each."""
    return [
        _answer(campaign, who, scene)
        for campaign, members in enumerate(enrolled)
        for who in members
        if who == 0 or scene.random.random() < _ANSWERING
    ]


def _answer(campaign: int, who: int, scene: Scene) -> Message:
    person = scene.contacts[who]
    channel = texts.CAMPAIGNS[campaign][1].value if person.phone else "email"
    party = {"phone": person.phone} if channel == "sms" else {"email": person.email}
    interaction = {
        "external_id": scene.external_id(f"answer/{campaign}/{who}"),
        "occurred_at": scene.clock.just_after_now(),
        "channel": channel,
        "direction": "inbound",
        "party": party,
        "subject": scene.random.choice(texts.CAMPAIGN_ANSWERS),
        "attributes": {"campaign_id": _campaign(campaign)},
    }
    return Message(texts.ADAPTERS[Channel(channel)], interaction, about=who)


def _campaign(number: int) -> Named:
    return Named(f"campaign/{number}")


def _enrol(campaign: int, who: int) -> Post:
    path = ("/api/campaigns", _campaign(campaign), "enrol")
    return Post(f"enrolment/{campaign}/{who}", path, _ROLE, {"contact_id": contact(who)})
