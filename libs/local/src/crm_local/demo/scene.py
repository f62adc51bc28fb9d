"""What every part of the plan draws on: who takes part, when, and the dice."""

from dataclasses import dataclass
from random import Random

from crm_local.demo.clock import Clock
from crm_local.demo.people import Person


@dataclass(frozen=True)
class Scene:
    """`contacts` are registered, the first of them lives through most; `strangers` only write in."""

    seed: int
    contacts: list[Person]
    strangers: list[Person]
    clock: Clock
    random: Random

    def external_id(self, rest: str) -> str:
        """An id that no other demo uses."""
        return f"demo-{self.seed}/{rest}"
