"""Who wrote a record of a domain topic: only a relay of this installation (docs/adr/0011).

An event's place in its partition's chain decides what every reader skips and applies. So the relay authenticates each
record together with that place, and a record that somebody else has written can move no cursor's position.
"""

import hashlib
import hmac

from crm_platform.sealing import InstallationKey

HEADER = "crm-mac"
MAC_BYTES = 16
_PURPOSE = "crm: records of domain topics"


class Authenticator:
    """Keyed BLAKE2b (RFC 7693) over a record, its topic and partition, and its link in the chain."""

    def __init__(self, installation: InstallationKey) -> None:
        self._key = installation.derived(_PURPOSE)

    def mac(
        self, topic: str, partition: int, position: int, previous: int, type_name: bytes, key: bytes, value: bytes
    ) -> bytes:
        """16 bytes. Every part has a length or an end of its own, so no two records give the same message."""
        place = f"{topic}\n{partition}\n{position}\n{previous}\n{len(type_name)}\n{len(key)}\n".encode()
        return hashlib.blake2b(b"".join((place, type_name, key, value)), key=self._key, digest_size=MAC_BYTES).digest()

    @staticmethod
    def same(one: bytes, other: bytes) -> bool:
        return hmac.compare_digest(one, other)
