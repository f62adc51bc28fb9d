"""Takes the sealing of personal data out of every process that has this folder on its path, to measure what it costs.

Blocks keep their shape; in their box the words stand as they are. No key is looked up, assigned, published or read.
Python imports a module of this name by itself.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from crm_platform import sealing
from crm_platform.event_store.subject_keys import SubjectKeys
from crm_platform.keyring import Keyring


class _NoCipher:
    """In the place of AES-GCM."""

    generate_key = staticmethod(AESGCM.generate_key)

    def __init__(self, secret: bytes) -> None:
        """Any secret will do."""

    def encrypt(self, _nonce: bytes, plain: bytes, _associated: bytes) -> bytes:
        return plain

    def decrypt(self, _nonce: bytes, box: bytes, _associated: bytes) -> bytes:
        return box


class _EveryKey(dict[UUID, sealing.SubjectKey]):
    """Has a key for everybody, and it is always the same."""

    def __contains__(self, _: object) -> bool:
        return True

    def get(self, _: UUID, default: Any = None) -> Any:  # noqa: ARG002 - dict's signature
        return _KEY


def _keys_of(_: SubjectKeys, subjects: Iterable[UUID]) -> dict[UUID, sealing.SubjectKey | None]:
    return dict.fromkeys(subjects, _KEY)


def _opened(self: Keyring, *arguments: Any, **named: Any) -> None:
    _init(self, *arguments, **named)
    self._cache = _EveryKey()  # type: ignore[assignment] # it is only asked


_init = Keyring.__init__
for _place, _name, _stand_in in (
    (sealing, "AESGCM", _NoCipher),
    (Keyring, "__init__", _opened),
    (SubjectKeys, "cached", _keys_of),
    (SubjectKeys, "known", _keys_of),
    (SubjectKeys, "as_of", lambda _: None),
):
    setattr(_place, _name, _stand_in)
_KEY = sealing.SubjectKey(UUID(int=1), bytes(32))
