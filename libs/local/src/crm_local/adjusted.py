"""Settings of a server that hold in one state folder only, and win over those of any local stack; tests write them."""

from collections.abc import Mapping

from crm_local.folder import StateFolder


def adjust(folder: StateFolder, part: str, settings: Mapping[str, str]) -> None:
    """Each start of the part from now on has these settings: names as its server's own configuration has them."""
    folder.adjusted.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder.adjusted / part).write_text("".join(f"{name}={value}\n" for name, value in settings.items()))


def adjustments(folder: StateFolder, part: str) -> dict[str, str]:
    """What was adjusted, by name."""
    file = folder.adjusted / part
    lines = file.read_text().splitlines() if file.exists() else []
    return {name: value for name, _, value in (line.partition("=") for line in lines)}
