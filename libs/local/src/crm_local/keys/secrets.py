"""The installation's key in the secret files, and how it is changed there, step by step (docs/adr/0019).

Each step leaves files with which every service can be started, and is done once however often it is repeated.
"""

from collections.abc import Mapping
from pathlib import Path

from crm_local.credentials import (
    ACCEPTED_KEYS,
    FORMER_PROOFS,
    INSTALLATION_KEY,
    installation,
    lines,
    random_key,
    replace_secret,
)
from crm_local.errors import LocalStackError
from crm_local.folder import StateFolder
from crm_platform import former_key

_NEXT = "next_installation_key"


class KeyFiles:
    """The secret files that hold the installation's key and those beside it."""

    def __init__(self, folder: StateFolder) -> None:
        self._folder = folder
        self.present = folder.secrets / INSTALLATION_KEY
        self.accepted = folder.secrets / ACCEPTED_KEYS
        self.former = folder.secrets / FORMER_PROOFS
        self._next = folder.secrets / _NEXT

    @property
    def is_changing(self) -> bool:
        """Whether a change has begun and has not come to its end."""
        return self._next.exists()

    def begin(self) -> None:
        """Make the key that is to come, and have it accepted. Goes on with the one that was made before."""
        if not self._next.exists():
            replace_secret(self._next, random_key())
        self._accept(self._next_key())

    def switch(self) -> None:
        """Make it the present key; the one before stays accepted."""
        (present,) = lines(self._folder, INSTALLATION_KEY)
        if present != self._next_key():
            # Accepted first: between the two steps a service may be started.
            self._accept(present)
            replace_secret(self.present, self._next_key())

    def finish(self) -> None:
        self._next.unlink(missing_ok=True)

    def retire(self, until: Mapping[str, int]) -> int:
        """Give up the accepted keys, and keep what proves old records; returns how many there were.

        `until` are the last positions of the topics, as `FormerProofs` has them.

        Raises LocalStackError while the key is being changed.
        """
        if self.is_changing:
            raise LocalStackError("the key is being changed: call 'crm keys rotate' until it has come to its end")
        kept = lines(self._folder, FORMER_PROOFS)
        _, *accepted = installation(self._folder).accepted
        proofs = [former_key.written(former_key.proofs_of(key, until)) for key in accepted]
        known = {line.partition(",")[0] for line in kept}
        new = [line for line in proofs if line.partition(",")[0] not in known]
        _write(self.former, [*new, *kept])
        _write(self.accepted, [])
        return len(accepted)

    def _next_key(self) -> str:
        return self._next.read_text().strip()

    def _accept(self, key: str) -> None:
        before = lines(self._folder, ACCEPTED_KEYS)
        if key not in before:
            _write(self.accepted, [key, *before])


def _write(file: Path, entries: list[str]) -> None:
    replace_secret(file, "".join(f"{entry}\n" for entry in entries))
