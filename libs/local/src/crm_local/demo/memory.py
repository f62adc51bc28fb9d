"""What an earlier run of the demo began: it is resumed, not begun anew."""

from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ValidationError

from crm_local.errors import LocalStackError
from crm_local.folder import StateFolder


class Beginning(BaseModel):
    """How large a day is, and when it was first started. Both are part of what is said to have happened."""

    contacts: int
    now: AwareDatetime


def beginning(folder: StateFolder, seed: int, contacts: int) -> Beginning:
    """How the day of this seed began: as an earlier run noted it, or now.

    Raises LocalStackError if it began with another number of contacts.
    """
    file = folder.root / "demo" / f"seed-{seed}.json"
    begun = _read(file)
    if begun is None:
        begun = Beginning(contacts=contacts, now=datetime.now(UTC).replace(microsecond=0))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(begun.model_dump_json(indent=2) + "\n")
    if begun.contacts != contacts:
        raise LocalStackError(
            f"the day of seed {seed} was begun with {begun.contacts} contacts: "
            f"repeat it with --contacts {begun.contacts}, or take another --seed"
        )
    return begun


def _read(file: Path) -> Beginning | None:
    try:
        return Beginning.model_validate_json(file.read_text())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise LocalStackError(f"{file} cannot be read: remove it, and take another --seed") from error
