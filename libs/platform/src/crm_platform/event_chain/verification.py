"""Whether a store holds what was written to it, and which event is the first that it does not (docs/adr/0015)."""

from collections.abc import Callable, Iterable
from typing import Any

import orjson
import psycopg

from crm_events.envelope import PREVIOUS_HASH
from crm_platform.event_chain.audit import Audit
from crm_platform.event_chain.checkpoint import Seal
from crm_platform.event_chain.coverage import Coverage
from crm_platform.event_chain.entries import Entry, leaf_of
from crm_platform.event_chain.findings import Finding, Named, Report
from crm_platform.event_chain.links import written_link
from crm_platform.event_chain.rows import PAGE_EVENTS, Rows, StoredRow, connect
from crm_platform.event_store.mapper import PRIVATE

MOST_FINDINGS = 1_000

Progress = Callable[[int, int], None]
"""Told the position that is verified, and the last one."""


class NotVerifiableError(Exception):
    """The log cannot be verified now; the message says why and what to do."""


def verify(
    postgres_uri: str,
    log: str,
    trusted: frozenset[bytes],
    kept: Iterable[Seal] = (),
    progress: Progress = lambda _position, _last: None,
) -> Report:
    """Verify one service's events, up to the newest at this moment, in memory that does not grow with them.

    `trusted` are the public keys whose checkpoints count; `kept` are checkpoints as earlier verifications told them:
    those of this log must still be there. Nothing is written, and the service may go on meanwhile. Raises
    NotVerifiableError.
    """
    try:
        with connect(postgres_uri) as connection:
            return _Verification(Rows(connection, log), log, trusted, kept).run(progress)
    except psycopg.errors.UndefinedTable as missing:
        raise NotVerifiableError(
            f"{log} has no events or no checkpoints: its service was never started in a release that signs them"
        ) from missing
    except psycopg.Error as failure:
        raise NotVerifiableError(f"{log}: PostgreSQL does not answer as it should: {failure}") from failure


class _Verification:
    def __init__(self, rows: Rows, log: str, trusted: frozenset[bytes], kept: Iterable[Seal]) -> None:
        self._rows = rows
        self._report = Report(log)
        self._coverage = Coverage(Audit(rows, trusted, kept, self._report))
        self._accused: set[Named] = set()

    def run(self, progress: Progress) -> Report:
        report = self._report
        for row in self._rows.events():
            self._verify(row)
            if report.events % PAGE_EVENTS == 0:
                progress(row.position, self._rows.newest_position)
            if len(report.findings) >= MOST_FINDINGS:
                report.complete = False
                break
        else:
            self._tell_missing(None)
        report.findings.sort(key=lambda finding: finding.position)
        return report

    def _verify(self, row: StoredRow) -> None:
        self._report.events += 1
        self._tell_missing(row.position)
        entry = self._coverage.at(row.position)
        is_signed = entry is not None
        self._report.unsigned += not is_signed
        if not self._is_as_signed(row, entry):
            return
        document = _document(row.state)
        if fault := _fault_of(document, row):
            self._accuse(row.position, _named(row), fault)
        else:
            self._verify_link(row, document.get(PREVIOUS_HASH), is_signed=is_signed)

    def _is_as_signed(self, row: StoredRow, entry: Entry | None) -> bool:
        if entry is None:
            if self._coverage.covers(row.position):
                self._accuse(row.position, _named(row), "it was not there when the events around it were signed")
                return False
        elif (entry.stream, entry.sequence) != (row.stream, row.sequence):
            signed = Named(entry.stream, entry.sequence, entry.position)
            self._accuse(row.position, signed, f"in its place stands event {row.id}")
            return False
        elif entry.leaf != leaf_of(row.topic, row.state):
            self._accuse(row.position, _named(row), "it is not what was signed")
            return False
        return True

    def _verify_link(self, row: StoredRow, link: object, *, is_signed: bool) -> None:
        before = Named(row.stream, row.sequence - 1, row.previous_position)
        if row.sequence == 1:
            if link is not None:
                self._accuse(row.position, _named(row), "it is the first of its stream, and linked to an event before")
        elif row.previous_position is None or row.previous_hash is None:
            self._accuse(row.position, before, f"it is missing; event {row.id} follows it")
        elif row.previous_position > row.position:
            self._accuse(row.position, _named(row), "it stands before the event that it follows in its stream")
        elif link is None:
            self._report.unlinked += 1
        elif link != written_link(row.previous_hash):
            # Of two events that do not fit, the one that is as it was signed is not the altered one.
            if self._coverage.covers(row.previous_position) and not is_signed:
                self._accuse(row.position, _named(row), f"it is not linked to event {before.id} before it")
            else:
                what = f"event {row.id} is linked to something else; one of the two was altered before it was signed"
                self._accuse(row.previous_position, before, what)

    def _tell_missing(self, position: int | None) -> None:
        for entry in self._coverage.passed_over(position):
            signed = Named(entry.stream, entry.sequence, entry.position)
            self._accuse(entry.position, signed, "it was signed, and is missing")

    def _accuse(self, position: int, event: Named, what: str) -> None:
        """Tell what is wrong with an event, once."""
        identity = Named(event.stream, event.sequence)
        if identity not in self._accused:
            self._accused.add(identity)
            self._report.findings.append(Finding(position, what, event))


def _named(row: StoredRow) -> Named:
    return Named(row.stream, row.sequence, row.position, row.topic.removeprefix(PRIVATE))


def _document(state: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(state)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}


def _fault_of(document: dict[str, Any], row: StoredRow) -> str | None:
    """Where an event's document says another place or type than its row."""
    told = {
        "id": str(row.id),
        "subject": str(row.stream),
        "sequence": str(row.sequence),
        "type": row.topic.removeprefix(PRIVATE),
    }
    if row.sequence < 1:
        return "no event has such a sequence"
    different = [attribute for attribute, value in told.items() if document.get(attribute) != value]
    return f"its document and its row differ in {', '.join(different)}" if different else None
