"""What passes between the firm and its customers on every channel, as the adapters report it."""

from random import Random
from typing import Any

from crm_events.adapter import Channel
from crm_local.demo import texts
from crm_local.demo.people import Person
from crm_local.demo.scene import Scene
from crm_local.demo.script import Message

_CHANNELS = {
    Channel.EMAIL: 30,
    Channel.WEB: 22,
    Channel.CALL: 14,
    Channel.CHAT: 9,
    Channel.SMS: 6,
    Channel.SOCIAL: 6,
    Channel.ORDER: 6,
    Channel.MEETING: 4,
    Channel.NOTE: 3,
}
_ALWAYS_INBOUND = (Channel.WEB, Channel.ORDER, Channel.SOCIAL)
_HERO_EACH = 3
_LIVELIEST = 8.0


def exchange(count: int, scene: Scene) -> list[Message]:
    """Some contacts are in touch far more than others; the first one uses every channel."""
    random = scene.random
    liveliness = [min(random.paretovariate(1.5), _LIVELIEST) for _ in scene.contacts]
    drawn = random.choices(range(len(scene.contacts)), liveliness, k=count)
    channels = random.choices(list(_CHANNELS), list(_CHANNELS.values()), k=count)
    for place, channel in enumerate(list(_CHANNELS) * _HERO_EACH):
        drawn[place], channels[place] = 0, channel
    return [
        _message(number, who, channel, scene) for number, (who, channel) in enumerate(zip(drawn, channels, strict=True))
    ]


def _message(number: int, who: int, channel: Channel, scene: Scene) -> Message:
    random = scene.random
    inbound = channel in _ALWAYS_INBOUND or random.random() < 0.6
    interaction: dict[str, Any] = {
        "external_id": scene.external_id(f"{channel.value}/{number}"),
        "occurred_at": scene.clock.lately(),
        "channel": channel.value,
        "direction": "inbound" if inbound else "outbound",
        "party": _reached_by(channel, scene.contacts[who]),
        "subject": random.choice(texts.SUBJECTS[channel]),
    }
    attributes = _attributes(channel, random)
    if attributes:
        interaction["attributes"] = attributes
    return Message(texts.ADAPTERS[channel], interaction, about=who)


def _reached_by(channel: Channel, person: Person) -> dict[str, str]:
    if channel in {Channel.CALL, Channel.SMS} and person.phone:
        return {"phone": person.phone}
    if channel is Channel.SOCIAL and person.handle:
        return {"handle": person.handle}
    if channel is Channel.WEB and person.cookie:
        return {"cookie": person.cookie}
    return {"email": person.email}


def _attributes(channel: Channel, random: Random) -> dict[str, str | int]:
    match channel:
        case Channel.ORDER:
            return {"amount": f"{random.randint(900, 42_000) / 100:.2f}", "currency": "GBP"}
        case Channel.CALL:
            return {"duration_seconds": random.randint(20, 1_500)}
        case Channel.MEETING:
            return {"duration_minutes": random.choice((30, 45, 60, 90))}
    return {}
