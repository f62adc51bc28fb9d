"""Why a value is refused, in words, and without the value itself: it may be personal."""

from collections.abc import Mapping
from typing import Any

from crm_events.parties import PATTERNS


def reason(error: Mapping[str, Any]) -> str:
    """What one error of a ValidationError says to who sent the value. It needs the error's context."""
    match error:
        case {"type": "string_pattern_mismatch", "ctx": {"pattern": pattern}} if pattern in PATTERNS:
            return f"Input should be {PATTERNS[pattern]}"
    message: str = error["msg"]
    return message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
