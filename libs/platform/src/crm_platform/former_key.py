"""What is kept of an installation key that is given up, as one line without spaces (docs/adr/0019).

`python -m crm_platform.former_key crm.sales@479 crm.contacts@1200 < former-key` prints it: the topics with the last
position that was published while the key was in use, or later.
"""

import base64
import binascii
import re
import sys
from collections.abc import Mapping, Sequence

from crm_platform.authenticity import record_key
from crm_platform.event_chain.checkpoint import CheckpointKeys
from crm_platform.sealing import FormerProofs, InstallationKey

PART_BYTES = 32
_UNTIL = re.compile(r"(?P<topic>[a-z.]{1,100})@(?P<position>[0-9]{1,18})", re.ASCII)


def proofs_of(installation: InstallationKey, until: Mapping[str, int]) -> FormerProofs:
    return FormerProofs(record_key(installation), CheckpointKeys([installation]).public, until)


def written(proofs: FormerProofs) -> str:
    until = (f"{topic}@{position}" for topic, position in sorted(proofs.until.items()))
    return ",".join((base64.b64encode(proofs.records + proofs.checkpoints).decode(), *until))


def read(line: str) -> FormerProofs:
    """Raises ValueError, which does not repeat the line."""
    encoded, *until = line.split(",")
    try:
        parts = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a former key's proofs are base64, and this is not") from None
    if len(parts) != 2 * PART_BYTES:
        raise ValueError(f"a former key's proofs are {2 * PART_BYTES} bytes, and these are {len(parts)}")
    return FormerProofs(parts[:PART_BYTES], parts[PART_BYTES:], _read_until(until))


def _read_until(written_positions: Sequence[str]) -> dict[str, int]:
    until = {}
    for each in written_positions:
        found = _UNTIL.fullmatch(each)
        if found is None:
            raise ValueError("a former key's proofs name topics as crm.sales@479: the last position that it may prove")
        until[found["topic"]] = int(found["position"])
    return until


def main(arguments: Sequence[str]) -> int:
    """Exit 0 and a line, or 2 with a reason."""
    try:
        secret = base64.b64decode(sys.stdin.read().strip(), validate=True)
        if len(secret) != PART_BYTES:
            raise ValueError(f"the former key is base64 of {PART_BYTES} bytes, on standard input")
        line = written(proofs_of(InstallationKey(secret), _read_until(arguments)))
    except ValueError as refusal:
        sys.stderr.write(f"{refusal}\n")
        return 2
    sys.stdout.write(line + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
