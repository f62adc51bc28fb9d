"""Signs what was appended, at intervals (docs/adr/0015).

It reads as the relay does: positions are given and committed in one order, so none appears behind a reader.
"""

import asyncio
import hashlib
from datetime import UTC, datetime
from time import time as wall_clock

import psycopg
from eventsourcing.persistence import PersistenceError
from psycopg.sql import SQL

from crm_platform.event_chain.checkpoint import FIRST_PREVIOUS, LOWEST, Checkpoint, CheckpointKeys, Seal
from crm_platform.event_chain.entries import ENTRY_BYTES, WRITTEN_BY_POSTGRESQL
from crm_platform.event_store.recorder import Recorder
from crm_platform.finishing import to_its_end
from crm_platform.logging import get_logger
from crm_platform.metrics import CHAIN_SIGNED_POSITION, CHAIN_UNSIGNED_SECONDS

MOST_EVENTS = 10_000
MOST_BYTES = 32 * 1024 * 1024
"""Of one checkpoint. PostgreSQL hashes so much well before a connection that says nothing is given up."""
LAST_SECONDS = 3.0

log = get_logger(__name__)

_NEWEST = SQL(
    "SELECT number, after_position, position, sha256(entries), previous, signed_at, public_key, signature"
    " FROM event_checkpoints ORDER BY number DESC LIMIT 1"
)
_FOLLOWING = SQL(
    "SELECT max(notification_id), string_agg(entry, '' ORDER BY notification_id) FROM ("
    "  SELECT notification_id, {entry} AS entry FROM ("
    "    SELECT *, sum(octet_length(state)) OVER (ORDER BY notification_id) - octet_length(state) AS before FROM ("
    "      SELECT * FROM store_events WHERE notification_id > %s ORDER BY notification_id LIMIT %s"
    "    ) AS page"
    "  ) AS counted WHERE before IS NULL OR before < %s"
    ") AS following"
).format(entry=WRITTEN_BY_POSTGRESQL)
_INSERT = SQL(
    "INSERT INTO event_checkpoints"
    " (number, after_position, position, entries, previous, signed_at, public_key, signature)"
    " VALUES (%b, %b, %b, %b, %b, %b, %b, %b) ON CONFLICT (number) DO NOTHING RETURNING number"
)


class CheckpointForgedError(RuntimeError):
    """The newest checkpoint is not one of this installation's: nothing is signed behind it."""


class Signer:
    """Extends the chain of checkpoints. Two of them at once are harmless: of each number there is one checkpoint."""

    name = "signer"
    ready = True
    alive = True

    def __init__(self, recorder: Recorder, log_name: str, keys: CheckpointKeys, every_seconds: float) -> None:
        self._recorder = recorder
        self._log_name = log_name
        self._keys = keys
        self._every_seconds = every_seconds
        self._complete_at = wall_clock()

    async def run(self) -> None:
        """Sign for ever, and once more when told to stop. A database that is away is tried again at the next turn."""
        CHAIN_UNSIGNED_SECONDS.set_function(lambda: max(0.0, wall_clock() - self._complete_at))
        try:
            while True:
                await to_its_end(self._sign_what_is_new(), LAST_SECONDS)
                await asyncio.sleep(self._every_seconds)
        except asyncio.CancelledError:
            await asyncio.wait([asyncio.create_task(self._sign_what_is_new())], timeout=LAST_SECONDS)
            raise

    async def _sign_what_is_new(self) -> None:
        try:
            while True:
                looked_at = wall_clock()
                if not await asyncio.to_thread(self.extend):
                    break
        except CheckpointForgedError as forged:
            log.error("checkpoint_forged", reason=str(forged))
        except (PersistenceError, psycopg.Error) as away:
            log.warning("checkpoint_not_signed", exc_info=away)
        else:
            self._complete_at = looked_at

    def extend(self) -> bool:
        """Sign what follows the newest checkpoint, up to the bounds of one; False where nothing does.

        Raises CheckpointForgedError.
        """
        newest = self._newest()
        after, number = (newest.position, newest.number) if newest else (LOWEST, 0)
        ((position, entries),) = self._recorder.fetched(_FOLLOWING, (after, MOST_EVENTS, MOST_BYTES))
        own = newest is None or newest.public_key == self._keys.public
        if position is None and own:
            CHAIN_SIGNED_POSITION.set(max(0, after))
            return False
        packed = entries or b""
        unsigned = Checkpoint(
            log=self._log_name,
            number=number + 1,
            after=after,
            position=after if position is None else position,
            entries_hash=hashlib.sha256(packed).digest(),
            previous=newest.digest() if newest else FIRST_PREVIOUS,
            signed_at=datetime.now(UTC),
            public_key=self._keys.public,
        )
        self._insert(self._keys.signed(unsigned), packed)
        return True

    def _newest(self) -> Checkpoint | None:
        for row in self._recorder.fetched(_NEWEST, ()):
            newest = Checkpoint(self._log_name, *row)
            if newest.public_key not in self._keys.trusted or not newest.is_genuine():
                raise CheckpointForgedError(
                    f"checkpoint {newest.number} of {self._log_name} is not signed by a key of this installation:"
                    " verify the log, and tell the installation its former key if it has a new one"
                )
            return newest
        return None

    def _insert(self, signed: Checkpoint, entries: bytes) -> None:
        """Store it, unless another signer has stored one of that number meanwhile."""
        values = signed.number, signed.after, signed.position, entries, *signed[5:]
        if self._recorder.fetched(_INSERT, values):
            # The log is a place outside the database: with it a checkpoint that is taken away is missed.
            log.info(
                "checkpoint_signed",
                seal=str(Seal.of(signed)),
                position=signed.position,
                events=len(entries) // ENTRY_BYTES,
            )
