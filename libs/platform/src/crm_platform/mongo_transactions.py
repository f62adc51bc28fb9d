"""The transactions of one consumer, in a session that its successor can end (docs/adr/0004).

A client that dies in a transaction holds the documents it wrote until MongoDB gives the transaction up, seconds later.
So each owner of transactions runs them all in one session and keeps that session's id under its own name; whoever has
the name next ends the dead one's session, and its transaction with it.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TypeVar

from crm_platform.mongo import Database, Session, Work, new_session, transacted

COLLECTION = "transaction_sessions"

T = TypeVar("T")


class Transactions:
    """Transactions of one owner, one at a time.

    `owner` names who runs them and is the same after a restart, for instance a consumer and its instance; two
    processes that have one name at the same time end each other's transactions. Who waits for a server that fell
    silent and tries again does so in the same session, which ends what the server may still hold of the first attempt.
    """

    def __init__(self, database: Database, owner: str) -> None:
        self._database = database
        self._sessions = database[COLLECTION]
        self._owner = owner
        self._session: Session | None = None
        self._alone = asyncio.Lock()
        self._thread = self._new_thread()

    async def open(self) -> None:
        """End the predecessor's session, if that is not done yet; `run` does it, too. Raises MongoError."""
        async with self._alone:
            if self._session is None:
                self._session = await self._succeed()

    async def run(self, work: Work[T]) -> T:
        """Run `work` in one transaction and commit it; see `mongo.transacted`. Raises MongoError."""
        async with self._alone:
            self._session = self._session or await self._succeed()
            try:
                return await transacted(self._session, work, self._thread)
            except asyncio.CancelledError:
                # Its last call may still be under way. The next transaction takes a new session, and ends this one.
                self._session = None
                self._thread.shutdown(wait=False)
                self._thread = self._new_thread()
                raise

    def _new_thread(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, thread_name_prefix=self._owner)

    async def _succeed(self) -> Session:
        """A session of our own, on record, once the recorded one is ended: what is on record can always be ended."""
        predecessor = await self._sessions.find_one({"_id": self._owner})
        if predecessor is not None:
            # It takes no privilege: every user may kill its own sessions.
            await self._database.client.admin.command({"killSessions": [{"id": predecessor["session"]}]})
        session = new_session(self._database.client)
        row = {"_id": self._owner, "session": session.session_id["id"], "since": datetime.now(UTC)}
        await self._sessions.replace_one({"_id": self._owner}, row, upsert=True)
        return session
