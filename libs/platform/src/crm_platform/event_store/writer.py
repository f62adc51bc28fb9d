"""The one thread that writes to the event store: it takes what is waiting and commits it together."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from crm_platform import tracing
from crm_platform.event_store.committer import Committer, Decision, Job, Outcome
from crm_platform.logging import get_logger

GROUP_BYTES = 4 * 1024 * 1024
GROUP_COMMANDS = 512
GATHER_SECONDS = 0.0005
"""Where commands come together, the next group waits this long for more: each group costs the same few round trips, and
as many changes between the threads. A command that comes alone is not kept waiting.
"""

Answered = Callable[[dict[Job, Outcome]], None]
Finished = Callable[[BaseException | None], None]

log = get_logger(__name__)


class Writer:
    """Groups of commands and, each in a transaction of its own, policy batches, in the order in which they came.

    `answered` is called in the writer thread with the outcomes of a whole group.
    """

    def __init__(self, committer: Committer, answered: Answered) -> None:
        self._committer = committer
        self._answered = answered
        self._waiting: deque[Job | tuple[Decision, Finished]] = deque()
        self._arrived = threading.Condition()
        self._stopping = False
        self._together = 0
        self._thread = threading.Thread(target=self._run, name="event-store-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Finish what is waiting, then end."""
        with self._arrived:
            self._stopping = True
            self._arrived.notify()
        self._thread.join(timeout)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def backlog(self) -> int:
        return len(self._waiting)

    def submit(self, work: Job | tuple[Decision, Finished]) -> None:
        with self._arrived:
            self._waiting.append(work)
            self._arrived.notify()

    def _run(self) -> None:
        while True:
            with self._arrived:
                self._arrived.wait_for(lambda: self._waiting or self._stopping)
                if not self._waiting:
                    return
            if self._together > 1:
                time.sleep(GATHER_SECONDS)
            with self._arrived:
                batch = self._next()
            self._together = 0 if isinstance(batch, tuple) else len(batch)
            if isinstance(batch, tuple):
                self._transact(*batch)
            else:
                self._commit(batch)

    def _next(self) -> Sequence[Job] | tuple[Decision, Finished]:
        """The next policy batch, or the commands at the front, up to the bounds of a transaction."""
        front = self._waiting.popleft()
        if isinstance(front, tuple):
            return front
        jobs, size = [front], front.size
        while self._waiting and len(jobs) < GROUP_COMMANDS:
            following = self._waiting[0]
            if isinstance(following, tuple) or size + following.size > GROUP_BYTES:
                break
            self._waiting.popleft()
            jobs.append(following)
            size += following.size
        return jobs

    def _commit(self, jobs: Sequence[Job]) -> None:
        try:
            with tracing.committing(job.trace for job in jobs):
                outcomes = self._committer.commands(jobs)
        except Exception as failure:
            log.exception("group_failed", commands=len(jobs))
            outcomes = dict.fromkeys(jobs, failure)
        self._answered(outcomes)

    def _transact(self, decide: Decision, finished: Finished) -> None:
        try:
            self._committer.transaction(decide)
        except Exception as failure:  # noqa: BLE001 - it belongs to whoever submitted the batch
            finished(failure)
        else:
            finished(None)
