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
        self._key, *self._accepted = map(record_key, installation.accepted)
        self._former = installation.former

    def mac(
        self, topic: str, partition: int, position: int, previous: int, type_name: bytes, key: bytes, value: bytes
    ) -> bytes:
        """16 bytes, by the present key."""
        return _mac(self._key, _message(topic, partition, position, previous, type_name, key, value))

    def proves(
        self,
        mac: bytes,
        topic: str,
        partition: int,
        position: int,
        previous: int,
        type_name: bytes,
        key: bytes,
        value: bytes,
    ) -> bool:
        """Whether somebody made it of this record who has the present key or another one that is accepted; of a record
        from before it was given up, a former one.
        """
        message = _message(topic, partition, position, previous, type_name, key, value)
        if hmac.compare_digest(_mac(self._key, message), mac):
            return True
        former = (former.records for former in self._former if 0 < position <= former.until.get(topic, 0))
        return any(hmac.compare_digest(_mac(each, message), mac) for each in (*self._accepted, *former))


def record_key(installation: InstallationKey) -> bytes:
    """The key that proves records."""
    return installation.derived(_PURPOSE)


def _message(
    topic: str, partition: int, position: int, previous: int, type_name: bytes, key: bytes, value: bytes
) -> bytes:
    """Every part has a length or an end of its own, so no two records give the same message."""
    place = f"{topic}\n{partition}\n{position}\n{previous}\n{len(type_name)}\n{len(key)}\n".encode()
    return b"".join((place, type_name, key, value))


def _mac(key: bytes, message: bytes) -> bytes:
    return hashlib.blake2b(message, key=key, digest_size=MAC_BYTES).digest()
