"""Words that only one person has said, and the forms in which they may stand somewhere."""

import base64
import random
import string
from collections.abc import Iterator

MARK_LETTERS = 16
PHONE_DIGITS = 11
_SURE = (slice(0, None), slice(2, None), slice(3, None))
"""Which letters of base64 follow from the word alone, by how many bytes stand before it in its group of three."""


class Words:
    """What one person has said. Every word begins with the person's mark, so where no mark is, no word is.

    Phone numbers, which are digits, are marks of their own.
    """

    def __init__(self) -> None:
        chance = random.SystemRandom()
        self.mark = "".join(chance.choices(string.ascii_lowercase, k=MARK_LETTERS))
        self._digits = chance.choices(string.digits, k=PHONE_DIGITS)
        self._said: dict[str, str] = {}
        self._marks = [self.mark]

    @property
    def said(self) -> list[str]:
        return list(self._said.values())

    @property
    def marks(self) -> list[str]:
        return list(self._marks)

    def __call__(self, label: str) -> str:
        """A word of that label, the same whenever it is asked for."""
        return self._said.setdefault(label, f"{self.mark}-{label}")

    def email(self, label: str) -> str:
        return self._said.setdefault(label, f"{self.mark}-{label}@example.org")

    def phone(self) -> str:
        """One number: written as it is compared, so that it is found however it was given."""
        if "phone" not in self._said:
            self._said["phone"] = f"+49{''.join(self._digits)}"
            self._marks.append("".join(self._digits))
        return self._said["phone"]


def forms(word: str | bytes) -> Iterator[bytes]:
    """The bytes of the word as they are, in UTF-16, as hexadecimal digits, and inside of any base64.

    A mark has no letter that JSON escapes.
    """
    plain = word.encode() if isinstance(word, str) else word
    yield plain
    if isinstance(word, str):
        yield word.encode("utf-16-le")
    yield plain.hex().encode()
    yield plain.hex().upper().encode()
    for before, sure in enumerate(_SURE):
        whole = (before + len(plain)) % 3 == 0
        letters = base64.b64encode(b"\0" * before + plain).rstrip(b"=")[sure]
        yield letters if whole else letters[:-1]
