"""The contacts of the demo: who they are and by what they are recognised."""

from dataclasses import dataclass
from random import Random
from typing import Any
from uuid import UUID, uuid5

from crm_local.demo import names
from crm_local.demo.clock import Clock
from crm_local.demo.script import Act, Named, Post

SEEDS = range(1, 51)
"""Each seed has numbers of its own, of which there are only so many."""
_PHONES_PER_SEED = names.PHONES_PER_RANGE // len(SEEDS)
_COOKIES = UUID("1d7f7a3e-52a4-5d0e-8e0b-7d6f5b1c9a42")
_MOST_PEOPLE = len(names.GIVEN) * len(names.FAMILY)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody of the demo. Nobody of another seed has the same identifiers."""

    given_name: str
    family_name: str
    organisation: str | None
    email: str
    phone: str | None
    handle: str | None
    cookie: str | None

    @property
    def name(self) -> str:
        return f"{self.given_name} {self.family_name}"

    def identifiers(self) -> list[dict[str, str]]:
        kinds = {"email": self.email, "phone": self.phone, "handle": self.handle, "cookie": self.cookie}
        return [{"kind": kind, "value": value} for kind, value in kinds.items() if value]


def invent_people(seed: int, count: int, random: Random) -> list[Person]:
    """The first of them is reached on every channel."""
    chosen = random.sample(range(_MOST_PEOPLE), count)
    return [_person(seed, number, place, random) for number, place in enumerate(chosen)]


def _person(seed: int, number: int, place: int, random: Random) -> Person:
    given, family = names.GIVEN[place // len(names.FAMILY)], names.FAMILY[place % len(names.FAMILY)]
    word = f"{given}.{family}{seed}".lower()
    is_first = number == 0
    return Person(
        given_name=given,
        family_name=family,
        organisation=random.choice(names.FIRMS) if is_first or random.random() < 0.4 else None,
        email=f"{word}@{random.choice(names.MAIL_DOMAINS)}",
        phone=_phone(seed, number),
        handle=f"@{word.replace('.', '_')}" if is_first or random.random() < 0.4 else None,
        cookie=uuid5(_COOKIES, word).hex if is_first or random.random() < 0.6 else None,
    )


def _phone(seed: int, number: int) -> str | None:
    place, area = divmod(number, len(names.PHONE_RANGES))
    if place >= _PHONES_PER_SEED:
        return None
    return f"{names.PHONE_RANGES[area]}{(seed - SEEDS.start) * _PHONES_PER_SEED + place:03}"


def contact(number: int) -> Named:
    """The id of the contact with that number."""
    return Named(f"contact/{number}")


def register(people: list[Person], clock: Clock, random: Random) -> Act:
    """Every person becomes a contact."""
    stories = tuple((_register(number, person, clock, random),) for number, person in enumerate(people))
    return Act("Contacts", stories)


def _register(number: int, person: Person, clock: Clock, random: Random) -> Post:
    body: dict[str, Any] = {
        "given_name": person.given_name,
        "family_name": person.family_name,
        "identifiers": person.identifiers(),
        "occurred_at": clock.long_ago(),
    }
    if person.organisation:
        body["organisation"] = person.organisation
    if random.random() < 0.5:
        body["birth_date"] = f"{random.randint(1950, 2004)}-{random.randint(1, 12):02}-{random.randint(1, 28):02}"
    if random.random() < 0.6:
        town, postcode = random.choice(names.TOWNS)
        street = f"{random.randint(1, 180)} {random.choice(names.STREETS)}"
        body["addresses"] = [{"lines": [street], "city": town, "postcode": postcode, "country": "GB"}]
    return Post(contact(number).name, ("/api/contacts",), "sales", body)
