"""Whether two generations of a read model are equal, document by document, at one moment of both.

The documents are read as they stood at one moment of the database (a snapshot), however long that takes. First a digest
of each collection is taken: the sum of the documents' hashes, for which their order does not matter. Only where digests
differ are the documents laid side by side.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.client_session import ClientSession

from crm_platform import mongo
from crm_platform.generations import Generation

_DIGEST_BYTES = 16
_RAW: CodecOptions[Any] = CodecOptions(document_class=RawBSONDocument)


@dataclass(frozen=True, slots=True)
class Digest:
    """How many documents a collection has, and the sum of their hashes (BLAKE2b, 128 bits, modulo 2**128)."""

    documents: int
    value: int

    @property
    def hex(self) -> str:
        return f"{self.value:032x}"


@dataclass(frozen=True, slots=True)
class Difference:
    """A document that differs: `fields` names what, or says that it is missing in one of the two."""

    collection: str
    id: str
    fields: tuple[str, ...]


class Comparison:
    """Compares two generations in a snapshot session. It blocks: run it in a thread."""

    def __init__(self, database: mongo.Database, session: ClientSession, first: Generation, second: Generation) -> None:
        self._database = database.delegate
        self._session = session
        self._pairs = list(zip(first.collections(), second.collections(), strict=True))
        self._prefix = len(first.identity) + 1
        self.digests: dict[str, Digest] = {}

    def pin(self) -> None:
        """Fix the moment: now."""
        self._database[self._pairs[0][0]].find_one(session=self._session, projection={"_id": 1})

    def differences(self) -> Iterator[Difference]:
        """The documents that differ, in no particular order; `digests` are those of the first generation."""
        for first, second in self._pairs:
            mine, other = self._digest(first), self._digest(second)
            self.digests[first[self._prefix :]] = mine
            if mine != other:
                yield from self._laid_side_by_side(first, second)

    def _digest(self, collection: str) -> Digest:
        documents = value = 0
        for row in self._database[collection].with_options(codec_options=_RAW).find(session=self._session):
            documents += 1
            value += int.from_bytes(blake2b(row.raw, digest_size=_DIGEST_BYTES).digest(), "big")
        return Digest(documents, value % (1 << 8 * _DIGEST_BYTES))

    def _laid_side_by_side(self, first: str, second: str) -> Iterator[Difference]:
        name = first[self._prefix :]
        mine, others = self._sorted(first), self._sorted(second)
        left, right = next(mine, None), next(others, None)
        while left is not None or right is not None:
            if right is None or (left is not None and _key(left) < _key(right)):
                assert left is not None  # noqa: S101 - one of the two is there
                yield Difference(name, str(left["_id"]), ("the whole document: it should not be there",))
                left = next(mine, None)
            elif left is None or _key(right) < _key(left):
                yield Difference(name, str(right["_id"]), ("the whole document: it is missing",))
                right = next(others, None)
            else:
                if fields := _different(left, right):
                    yield Difference(name, str(left["_id"]), fields)
                left, right = next(mine, None), next(others, None)

    def _sorted(self, collection: str) -> Iterator[mongo.Row]:
        return iter(self._database[collection].find(session=self._session).sort("_id", 1))


def _key(row: Mapping[str, Any]) -> bytes:
    """As MongoDB sorts: texts and binaries by their bytes."""
    id_ = row["_id"]
    return id_.encode() if isinstance(id_, str) else bytes(id_)


def _different(left: Mapping[str, Any], right: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(
        name for name in sorted(left.keys() | right.keys()) if left.get(name, _ABSENT) != right.get(name, _ABSENT)
    )


_ABSENT = object()
