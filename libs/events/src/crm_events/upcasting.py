"""Reading what an older release wrote: one step from each version to the next (docs/adr/0014).

A step sees `data` without its personal block: that is sealed, and goes on as it is. Neither does it see the envelope.
"""

from typing import Any

from crm_events.event import Event


class UpcastError(ValueError):
    """A step between two versions failed on what was stored."""


def upcast(event: type[Event], type_name: str, data: Any) -> Any:
    """`data` of the version that `type_name` says, in the form of today's class. Raises UpcastError.

    What is no object of members is returned as it is, for the class to refuse.
    """
    if type_name == event.type_name() or not isinstance(data, dict):
        return data
    members = dict(data)
    sealed = {name: members.pop(name) for name in (event.personal_field,) if name in members}
    written = version_of(type_name)
    for version in range(written, event.version):
        try:
            members = event.upcasters[version - event.version](members)
        except Exception as failure:
            raise UpcastError(
                f"{type_name} cannot be read as version {version + 1}: its upcaster raised {type(failure).__name__}"
            ) from failure
    return {**members, **sealed}


def version_of(type_name: str) -> int:
    """The version in a type name of ours."""
    return int(type_name.rpartition(".v")[2])
