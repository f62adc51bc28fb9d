"""What a rebuild tells, in words."""

from collections.abc import Iterator
from typing import Any


def sentence(told: dict[str, Any]) -> Iterator[str]:
    """Lines for the terminal; none for what needs no words."""
    match told["what"]:
        case "filling":
            yield f"Filling generation {told['generation']} of {told['read_model']} from the log."
        case "indexing":
            yield "Building its indexes."
        case "comparing":
            yield f"Comparing it with generation {told['live']}, as both stood at one moment."
        case "difference":
            yield f"  {told['collection']} {told['id']}: {', '.join(told['fields'])}"
        case "compared":
            differ = "none differs" if not told["differences"] else f"{told['differences']} differ"
            yield f"{told['documents']} documents of the live generation compared: {differ}."
            for collection, digest in told["digests"].items():
                yield f"  {digest}  {collection}"
        case "switched":
            yield f"Readers see generation {told['live']} of {told['read_model']} now."
            yield "The one before is kept: --rollback goes back to it, --drop drops it."
        case "dropped" | "abandoned":
            yield f"Generation {told['generation']} is dropped."
