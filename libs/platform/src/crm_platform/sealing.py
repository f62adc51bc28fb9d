"""Sealing of personal blocks: AES-256-GCM under a key of the data subject (docs/adr/0005).

Associated data is event id, subject and key id (48 bytes), so a block opens only where it was sealed. A subject's key
is itself wrapped, with AES-256-GCM and the key id as associated data, under the installation's key.
"""

import base64
import binascii
import os
from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeVar
from uuid import UUID, uuid4

import msgspec
import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from pydantic import BaseModel, ValidationError

from crm_events.event import Sealed
from crm_platform.errors import Refusal

B = TypeVar("B", bound=BaseModel)

_NONCE = 12


class SealBrokenError(ValueError):
    """A sealed block does not open: it was altered, or moved to another event, or the key is not its key."""


class KeyErased(Refusal):
    """The key of the personal data is destroyed, and the data with it."""

    status, code, title = 410, "erased", "The personal data is erased"

    @classmethod
    def of_personal_data(cls) -> "KeyErased":
        return cls("The key of this personal data is destroyed; the data cannot be read or changed any more.")


class SealedBlock(msgspec.Struct, frozen=True, kw_only=True):
    """A sealed block as read models keep it."""

    event: str
    subject: str
    key: str
    box: str

    @classmethod
    def of(cls, block: BaseModel | None) -> "SealedBlock | None":
        """The block of an event for a document; raises TypeError if it is open, for read models hold no plaintext."""
        if block is None:
            return None
        if not isinstance(block, Sealed):
            raise TypeError(f"a read model keeps personal blocks sealed, this {type(block).__name__} is open")
        return cls(event=str(block.event), subject=str(block.subject), key=str(block.key), box=block.box)

    def to_event_form(self) -> Sealed:
        return Sealed(event=UUID(self.event), subject=UUID(self.subject), key=UUID(self.key), box=self.box)


class SubjectKey:
    """The key of one data subject, ready for use."""

    def __init__(self, id: UUID, secret: bytes) -> None:  # noqa: A002 - it is the key's id
        self.id = id
        self.secret = secret
        self._cipher = AESGCM(secret)

    @classmethod
    def generate(cls) -> "SubjectKey":
        return cls(uuid4(), AESGCM.generate_key(bit_length=256))

    def seal(self, block: BaseModel, *, event: UUID, subject: UUID) -> Sealed:
        nonce = os.urandom(_NONCE)
        plain = orjson.dumps(block.model_dump(mode="json", exclude_none=True))
        box = nonce + self._cipher.encrypt(nonce, plain, event.bytes + subject.bytes + self.id.bytes)
        return Sealed(event=event, subject=subject, key=self.id, box=base64.b64encode(box).decode())

    def open(self, block: Sealed | SealedBlock, kind: type[B]) -> B:
        """The block in the clear; raises SealBrokenError."""
        try:
            return kind.model_validate_json(self.open_json(block), extra="ignore")
        except ValidationError as broken:
            raise SealBrokenError(f"the personal block of event {block.event} is not a {kind.__name__}") from broken

    def open_json(self, block: Sealed | SealedBlock) -> bytes:
        """The block in the clear, as the JSON object that was sealed; raises SealBrokenError."""
        associated = _bytes(block.event) + _bytes(block.subject) + self.id.bytes
        try:
            box = binascii.a2b_base64(block.box, strict_mode=True)
            return self._cipher.decrypt(box[:_NONCE], box[_NONCE:], associated)
        except (InvalidTag, ValueError) as broken:
            raise SealBrokenError(f"the personal block of event {block.event} does not open with its key") from broken


def _bytes(id: UUID | str) -> bytes:  # noqa: A002 - an id of any kind
    # A view opens many blocks: making a UUID of each id only to have its bytes would cost as much as the cipher.
    return id.bytes if isinstance(id, UUID) else bytes.fromhex(id.replace("-", ""))


class FormerProofs(NamedTuple):
    """What is kept of an installation key that is given up: it unwraps nothing, and tells nothing of that key.

    `records` proves who wrote a record, `checkpoints` is the public key of signed checkpoints; 32 bytes each. `until`
    is, by topic, the last position at which a record may be proved so: all who have read on take it for a repeat.
    """

    records: bytes
    checkpoints: bytes
    until: Mapping[str, int]


class InstallationKey:
    """Wraps the subjects' keys; it stands outside every database.

    `others` are accepted beside it while it is changed: those it had before, and one that it is about to have. What
    they have wrapped unwraps, what was proved with keys derived from them is proved, and nothing new is made with them.
    `former` are those that were given up.
    """

    def __init__(self, secret: bytes, others: Iterable[bytes] = (), former: Iterable[FormerProofs] = ()) -> None:
        self._secret = secret
        self._cipher = AESGCM(secret)
        self._others = [InstallationKey(other) for other in others if other != secret]
        self.former = tuple(former)

    @property
    def accepted(self) -> "tuple[InstallationKey, ...]":
        """This key, and behind it the others, each by itself."""
        return self, *self._others

    def derived(self, purpose: str) -> bytes:
        """A key of 32 bytes for another purpose, from which this one cannot be told (HKDF-Expand, RFC 5869)."""
        return HKDFExpand(algorithm=SHA256(), length=32, info=purpose.encode()).derive(self._secret)

    def wrap(self, key: SubjectKey) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, key.secret, key.id.bytes)

    def unwrap(self, id: UUID, wrapped: bytes) -> SubjectKey:  # noqa: A002 - the key's id
        """Raises SealBrokenError if none of the accepted keys has wrapped it."""
        for accepted in self.accepted:
            if (key := accepted.own(id, wrapped)) is not None:
                return key
        raise SealBrokenError(
            f"subject key {id} does not unwrap: neither CRM_INSTALLATION_KEY nor one of"
            " CRM_ACCEPTED_INSTALLATION_KEYS has wrapped it"
        )

    def own(self, id: UUID, wrapped: bytes) -> SubjectKey | None:  # noqa: A002 - the key's id
        """The subject's key if this key has wrapped it, whatever others are accepted; else None."""
        try:
            return SubjectKey(id, self._cipher.decrypt(wrapped[:_NONCE], wrapped[_NONCE:], id.bytes))
        except (InvalidTag, ValueError):
            return None
