"""A checkpoint: what a store held between two positions, signed, and chained to the checkpoint before it."""

import hashlib
import re
import struct
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from crm_platform.event_chain.links import written_link
from crm_platform.sealing import InstallationKey

FIRST_PREVIOUS = bytes(32)
"""What the first checkpoint has for the digest of the one before it."""
LOWEST = -(2**63)
"""Before every position that the database can hold: the first checkpoint speaks of all that could be put there."""

_PURPOSE = "crm: event checkpoints"
_VERSION = b"crm event checkpoint 1\n"
_NUMBERS = struct.Struct(">qqqq")
_SEAL = re.compile(r"(?P<log>[a-z.]{1,100})/(?P<number>[0-9]{1,18}):(?P<digest>[\w-]{43})", re.ASCII)
SEAL_FORM = "LOG/NUMBER:DIGEST"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Checkpoint(NamedTuple):
    """It says: in `log`, the events with positions above `after`, up to `position`, are exactly its entries.

    `previous` is the digest of the checkpoint numbered one less.
    """

    log: str
    number: int
    after: int
    position: int
    entries_hash: bytes
    previous: bytes
    signed_at: datetime
    public_key: bytes
    signature: bytes = b""

    def message(self) -> bytes:
        """What is signed. Every part has a length or an end of its own."""
        microseconds = (self.signed_at - _EPOCH) // timedelta(microseconds=1)
        numbers = _NUMBERS.pack(self.number, self.after, self.position, microseconds)
        hashes = self.previous, self.entries_hash, self.public_key
        return b"".join((_VERSION, self.log.encode(), b"\n", numbers, *map(_sized, hashes)))

    def digest(self) -> bytes:
        return hashlib.sha256(self.message()).digest()

    def is_genuine(self) -> bool:
        """Whether its signature is its public key's, over what it says; whose key that is, is another question."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(self.signature, self.message())
        except (InvalidSignature, ValueError):
            return False
        return True


class Seal(NamedTuple):
    """A checkpoint in short, to be kept where nobody can reach it who reaches the database."""

    log: str
    number: int
    digest: str

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Self:
        return cls(checkpoint.log, checkpoint.number, written_link(checkpoint.digest()))

    @classmethod
    def read(cls, text: str) -> Self:
        """Raises ValueError."""
        written = _SEAL.fullmatch(text.strip())
        if written is None:
            raise ValueError(f"{text!r} is no checkpoint as a verification prints it: {SEAL_FORM}")
        return cls(written["log"], int(written["number"]), written["digest"])

    def __str__(self) -> str:
        return f"{self.log}/{self.number}:{self.digest}"


class CheckpointKeys:
    """The key that signs checkpoints, and the public ones that are trusted, by the keys they are derived from.

    `installations` are the installation's key and, behind it, others that are accepted; `former` are the public keys of
    those that were given up.
    """

    @classmethod
    def of(cls, installation: InstallationKey) -> Self:
        return cls(installation.accepted, [former.checkpoints for former in installation.former])

    def __init__(self, installations: Sequence[InstallationKey], former: Iterable[bytes] = ()) -> None:
        private = [Ed25519PrivateKey.from_private_bytes(key.derived(_PURPOSE)) for key in installations]
        self._signing = private[0]
        self.public = private[0].public_key().public_bytes_raw()
        self.trusted = frozenset(key.public_key().public_bytes_raw() for key in private) | frozenset(former)

    def signed(self, checkpoint: Checkpoint) -> Checkpoint:
        """The checkpoint, which names `public`, with its signature."""
        return checkpoint._replace(signature=self._signing.sign(checkpoint.message()))


def _sized(part: bytes) -> bytes:
    return len(part).to_bytes(4, "big") + part
