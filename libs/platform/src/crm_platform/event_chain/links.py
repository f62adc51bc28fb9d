"""The link of an event to the one before it in its stream: a hash over the bytes that are stored (docs/adr/0015).

Personal blocks are sealed by then, so destroying a key leaves every link as it is.
"""

import base64
import hashlib


def link_to(state: bytes) -> str:
    """What the event after this one carries: SHA-256 of the bytes, in base64url without padding."""
    return written_link(hashlib.sha256(state).digest())


def written_link(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
