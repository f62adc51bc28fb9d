"""Which subject keys are destroyed, as every service remembers it beside its keyring (docs/adr/0019).

A key that is on record here never comes into the keyring again, whatever is read later or once more.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

from pymongo import UpdateOne

from crm_platform.mongo import Database, Session, blocking, ensure_collection

COLLECTION = "destroyed_keys"
OVERLAP = timedelta(seconds=60)
"""A transaction shows up this much later than its clock says, at most."""


class DestroyedKeys:
    """Documents of a key's id, when it was destroyed, and when this service noticed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._collection = database[COLLECTION]

    async def prepare(self) -> None:
        await ensure_collection(self._database, COLLECTION, {"noticed": [("noticed_at", 1)]})

    def among(self, keys: Iterable[UUID], session: Session) -> set[UUID]:
        """Those of the keys that are destroyed."""
        rows = blocking(self._collection).find(
            {"_id": {"$in": [str(key) for key in keys]}}, {"_id": 1}, session=session
        )
        return {UUID(row["_id"]) for row in rows}

    def add(self, destroyed: Mapping[UUID, datetime], session: Session) -> None:
        noticed = datetime.now(UTC)
        writes = [
            UpdateOne({"_id": str(key)}, {"$setOnInsert": {"destroyed_at": at, "noticed_at": noticed}}, upsert=True)
            for key, at in destroyed.items()
        ]
        if writes:
            blocking(self._collection).bulk_write(writes, session=session)

    async def of(self, keys: Iterable[UUID]) -> set[UUID]:
        """Those of the keys that this service knows to be destroyed, and holds no more."""
        rows = await self._collection.find({"_id": {"$in": [str(key) for key in keys]}}, {"_id": 1}).to_list(None)
        return {UUID(row["_id"]) for row in rows}

    async def noticed(self, since: datetime | None) -> tuple[dict[UUID, datetime], datetime | None]:
        """The keys that were noticed since about then, all for None; and from when on to ask the next time."""
        query = {} if since is None else {"noticed_at": {"$gte": since}}
        rows = await self._collection.find(query).to_list(None)
        newest = max((row["noticed_at"] for row in rows), default=None)
        return {UUID(row["_id"]): row["destroyed_at"] for row in rows}, newest - OVERLAP if newest else since
