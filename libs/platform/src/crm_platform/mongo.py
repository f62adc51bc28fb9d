"""MongoDB, through Motor, and only here (docs/adr/0007): when Motor is left, this module changes and no other."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC
from time import monotonic
from typing import Any, TypeVar

from bson.codec_options import CodecOptions
from motor.motor_asyncio import (
    AsyncIOMotorClient,
    AsyncIOMotorClientSession,
    AsyncIOMotorCollection,
    AsyncIOMotorDatabase,
)
from pymongo.errors import ConnectionFailure, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from crm_platform.backoff import Backoff
from crm_platform.metrics import MONGODB_RETRIES

Row = dict[str, Any]
Client = AsyncIOMotorClient[Row]
Database = AsyncIOMotorDatabase[Row]
Collection = AsyncIOMotorCollection[Row]
Session = AsyncIOMotorClientSession
MongoError = PyMongoError

T = TypeVar("T")

TRANSACTION_SECONDS = 20.0
"""A transaction is tried again this long: longer than a dead client's may hold the same documents (docs/adr/0004)."""
COMMIT_ATTEMPTS = 5
SERVER_SECONDS = 3.0


def connect(uri: str) -> Client:
    """A client for the running event loop. It connects when first used; writes are acknowledged by a majority."""
    return AsyncIOMotorClient(
        uri,
        serverSelectionTimeoutMS=int(SERVER_SECONDS * 1000),
        socketTimeoutMS=30_000,
        tz_aware=True,
        tzinfo=UTC,
        w="majority",
        journal=True,
        readConcernLevel="majority",
        retryWrites=True,
        uuidRepresentation="standard",
    )


def database(client: Client, name: str) -> Database:
    """A database whose instants come back in UTC."""
    options: CodecOptions[Row] = CodecOptions(tz_aware=True, tzinfo=UTC)
    return client.get_database(
        name,
        codec_options=options,
        write_concern=WriteConcern("majority", j=True),
        read_concern=ReadConcern("majority"),
    )


async def in_transaction(client: Client, work: Callable[[Session], Awaitable[T]]) -> T:
    """Run `work` in one transaction and commit it.

    `work` may run again after a transient error, so it must have no effect outside the transaction. A lost answer to a
    commit is asked for again. Raises MongoError when it cannot be done.
    """
    deadline = monotonic() + TRANSACTION_SECONDS
    backoff = Backoff(most=0.5, first=0.01)
    async with await client.start_session() as session:
        while True:
            try:
                async with session.start_transaction():
                    result = await work(session)
                    await _commit(session)
            except (ConnectionFailure, OperationFailure) as failure:
                if monotonic() > deadline or not failure.has_error_label("TransientTransactionError"):
                    raise
                MONGODB_RETRIES.inc()
                await backoff.wait()
            else:
                return result


async def _commit(session: Session) -> None:
    for attempt in range(1, COMMIT_ATTEMPTS + 1):
        try:
            await session.commit_transaction()
        except (ConnectionFailure, OperationFailure) as failure:
            if attempt == COMMIT_ATTEMPTS or not failure.has_error_label("UnknownTransactionCommitResult"):
                raise
        else:
            return


async def ensure_collection(database: Database, name: str, indexes: Mapping[str, list[tuple[str, int]]]) -> None:
    """The collection with its indexes; nothing happens where they exist."""
    if name not in await database.list_collection_names(filter={"name": name}):
        try:
            await database.create_collection(name)
        except OperationFailure as failure:
            if failure.code != _NAMESPACE_EXISTS:
                raise
    for index, keys in indexes.items():
        await database[name].create_index(keys, name=index)


_NAMESPACE_EXISTS = 48
