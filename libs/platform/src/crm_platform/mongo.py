"""MongoDB, through Motor, and only here (docs/adr/0007): when Motor is left, this module changes and no other."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from datetime import UTC
from time import monotonic
from typing import Any, TypeVar

from bson.codec_options import CodecOptions
from bson.errors import BSONError
from motor.motor_asyncio import (
    AsyncIOMotorClient,
    AsyncIOMotorCollection,
    AsyncIOMotorDatabase,
)
from pymongo.client_session import ClientSession
from pymongo.collection import Collection as BlockingCollection
from pymongo.errors import BulkWriteError, ConnectionFailure, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from crm_platform.backoff import Backoff
from crm_platform.metrics import MONGODB_RETRIES

Row = dict[str, Any]
Client = AsyncIOMotorClient[Row]
Database = AsyncIOMotorDatabase[Row]
Collection = AsyncIOMotorCollection[Row]
Session = ClientSession
MongoError = PyMongoError
MongoAway = ConnectionFailure

T = TypeVar("T")
Work = Callable[[Session], T]
"""What is done in a transaction, with its session; it may be done again.

It runs in a thread and uses blocking collections (`blocking`): a call of Motor's is a hop to a thread and back, and a
transaction has several calls.
"""

TRANSACTION_SECONDS = 20.0
"""A transaction is tried again this long: longer than a dead client's may hold the same documents (docs/adr/0004)."""
COMMIT_ATTEMPTS = 5
AWAY_ATTEMPTS = 2
"""A server that is away is waited for by the caller, who can say so; a fail-over is over by the second attempt."""
SERVER_SECONDS = 3.0
CONNECT_SECONDS = 3.0
HEARTBEAT_SECONDS = 2.0
"""A server that has not been heard of for this and `CONNECT_SECONDS` is away: whoever waits for it is told."""
ANSWER_SECONDS = 8.0
"""A server that lives may be silent this long over one operation."""


def connect(uri: str) -> Client:
    """A client for the running event loop. It connects when first used; writes are acknowledged by a majority.

    A server that falls silent without closing its connections is noticed within 5 s, and no operation waits for longer
    than 8 s.
    """
    return AsyncIOMotorClient(
        uri,
        serverSelectionTimeoutMS=_milliseconds(SERVER_SECONDS),
        connectTimeoutMS=_milliseconds(CONNECT_SECONDS),
        heartbeatFrequencyMS=_milliseconds(HEARTBEAT_SECONDS),
        socketTimeoutMS=_milliseconds(ANSWER_SECONDS),
        waitQueueTimeoutMS=_milliseconds(SERVER_SECONDS),
        tz_aware=True,
        tzinfo=UTC,
        w="majority",
        journal=True,
        readConcernLevel="majority",
        retryWrites=True,
        uuidRepresentation="standard",
    )


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)


def database(client: Client, name: str) -> Database:
    """A database whose instants come back in UTC."""
    options: CodecOptions[Row] = CodecOptions(tz_aware=True, tzinfo=UTC)
    return client.get_database(
        name,
        codec_options=options,
        write_concern=WriteConcern("majority", j=True),
        read_concern=ReadConcern("majority"),
    )


def blocking(collection: Collection) -> BlockingCollection[Row]:
    """The collection as `Work` uses it, over the same connections."""
    found: BlockingCollection[Row] = collection.delegate
    return found


def new_session(client: Client) -> Session:
    """A session that nobody uses yet; the server hears of it with its first use."""
    session: Session = client.delegate.start_session()
    return session


async def in_transaction(client: Client, work: Work[T]) -> T:
    """Run `work` in one transaction of a session of its own; see `transacted`."""
    with new_session(client) as session:
        return await transacted(session, work)


async def transacted(session: Session, work: Work[T], thread: Executor | None = None) -> T:
    """Run `work` in one transaction and commit it, in that thread, or in any.

    `work` may run again after a transient error, so it must have no effect outside the transaction. A lost answer to a
    commit is asked for again. Raises MongoError when it cannot be done.
    """
    loop = asyncio.get_running_loop()
    deadline = monotonic() + TRANSACTION_SECONDS
    backoff = Backoff(most=0.5, first=0.01)
    away = 0
    while True:
        try:
            return await loop.run_in_executor(thread, _attempt, session, work, deadline)
        except (ConnectionFailure, OperationFailure) as failure:
            away += isinstance(failure, ConnectionFailure)
            given_up = away == AWAY_ATTEMPTS or monotonic() > deadline
            if given_up or not failure.has_error_label("TransientTransactionError"):
                raise
            MONGODB_RETRIES.inc()
            await backoff.wait()


def _attempt(session: Session, work: Work[T], deadline: float) -> T:
    with session.start_transaction():
        result = work(session)
        _commit(session, deadline)
    return result


def _commit(session: Session, deadline: float) -> None:
    for attempt in range(1, COMMIT_ATTEMPTS + 1):
        try:
            session.commit_transaction()
        except (ConnectionFailure, OperationFailure) as failure:
            last = attempt == COMMIT_ATTEMPTS or monotonic() > deadline
            if last or not failure.has_error_label("UnknownTransactionCommitResult"):
                raise
        else:
            return


def refused(error: BaseException) -> bool:
    """Whether what was to be written can never be written, however often it is tried: too large, too deep, no BSON."""
    if isinstance(error, _UNENCODABLE):
        return True
    if not isinstance(error, OperationFailure):
        return False
    if any(error.has_error_label(label) for label in _PASSING):
        return False
    if isinstance(error, BulkWriteError):
        return any(failed["code"] in _REFUSED for failed in error.details["writeErrors"])
    return error.code in _REFUSED


_UNENCODABLE = (BSONError, OverflowError, UnicodeEncodeError, RecursionError)
"""What the driver raises before anything is sent; a document above 16 MB is one of them (DocumentTooLarge)."""
_PASSING = ("TransientTransactionError", "RetryableWriteError", "UnknownTransactionCommitResult")
_REFUSED = frozenset(
    {
        2,  # BadValue
        9,  # FailedToParse
        14,  # TypeMismatch
        15,  # Overflow: nested too deep
        22,  # InvalidBSON
        52,  # DollarPrefixedFieldName
        53,  # InvalidIdField
        55,  # InvalidDBRef
        56,  # EmptyFieldName
        57,  # DottedFieldName
        121,  # DocumentValidationFailure
        171,  # CannotIndexParallelArrays
        10334,  # BSONObjectTooLarge
        11000,  # DuplicateKey: behind a cursor's guard nobody else can have written it
        17280,  # KeyTooLong
        17419,  # a document that an update makes larger than 16 MB
        17420,  # the same, of a document that an upsert makes
    }
)
"""Codes by which the server says that the document is at fault."""


Indexes = Mapping[str, list[tuple[str, int]]]
"""The fields of each index by its name: 1 sorts upwards, -1 downwards."""


async def ensure_collection(database: Database, name: str, indexes: Indexes) -> None:
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


async def ping(client: Client) -> None:
    """Ask the server for a sign of life; raises MongoError where it gives none."""
    await client.admin.command("ping")
