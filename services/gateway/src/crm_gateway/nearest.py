"""What a refusal tells whoever has asked for a name that does not exist."""

from collections.abc import Iterable
from difflib import get_close_matches

_NAMED = 3
_COMPARED_CHARACTERS = 100
"""Names are shorter. What was asked for may be as long as a request's line, and comparing costs its length."""


def nearest(wanted: str, names: Iterable[str]) -> str:
    """Those of the names that come nearest, the nearest first, as a sentence lists them."""
    return ", ".join(get_close_matches(wanted[:_COMPARED_CHARACTERS], sorted(names), _NAMED, 0.0))
