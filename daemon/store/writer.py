"""Group commit on SQLite: one thread that owns the only connection that writes.

    commits ---> queue ---> [ everything that is queued ] ---> BEGIN IMMEDIATE ... COMMIT ---> one call into the loop

There is no timer: a batch is what was queued during the previous fsync. One commit alone pays one fsync, and two
hundred share one.
"""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Event, Thread

from daemon.errors import StoreUnavailableError
from daemon.log import get_logger
from daemon.store.batch import Batch, Job
from daemon.store.turn import Turn

_BATCH_MAX = 1_000
_FIRST_BACKOFF_S = 0.02
_LONGEST_BACKOFF_S = 1.0

# What a database says that cannot write now, whatever it is given: busy, locked, out of memory, read-only, I/O error,
# corrupt, full, cannot open, protocol, not a database.
_UNAVAILABLE = frozenset({5, 6, 7, 8, 10, 11, 13, 14, 15, 26})
_FSYNC_FAILED = frozenset({sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC})
log = get_logger(__name__)


def is_unavailable(error: BaseException) -> bool:
    """Tell whether an error says that the database cannot be used now, not that it was asked for something wrong."""
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _UNAVAILABLE


class Writer:
    """The thread that writes.

    Args:
        connection: Used by this thread alone from `start` on.
        turn: Keeps processes that write all the time from starving each other.
        has_room: Tells whether the disk has room for more than the little that some of the writes need.
        finished: Called in the thread with jobs and what each came to: a result that is committed now, or an error.
        sync_failed: Called in the thread when an fsync failed: what the operating system was given may be lost, and
            trying again would hide that. Nothing is written afterwards.

    Attributes:
        transactions: How many were committed.
        trouble: Why nothing can be written at the moment; empty if it can.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        turn: Turn,
        *,
        has_room: Callable[[], bool],
        finished: Callable[[list[tuple[Job, object]]], None],
        sync_failed: Callable[[sqlite3.Error], None],
    ) -> None:
        self.transactions = 0
        self.trouble = ""
        self._connection = connection
        self._turn = turn
        self._has_room = has_room
        self._finished = finished
        self._sync_failed = sync_failed
        self._lost: sqlite3.Error | None = None
        self._closing = Event()
        self._ended = False
        self._queue: SimpleQueue[Sequence[Job] | None] = SimpleQueue()
        self.submit = self._queue.put
        self._thread = Thread(target=self._work, name="sagad-store-writer", daemon=True)

    def start(self) -> None:
        """Begin to take jobs."""
        self._thread.start()

    def close(self) -> None:
        """Write what was submitted, or fail it if the database still refuses, and end. Blocks until then."""
        self._closing.set()
        self._queue.put(None)
        self._thread.join()
        self._connection.close()
        self._turn.close()

    def _work(self) -> None:
        """Commit what is queued, in its order, however long it takes; without what is at fault itself."""
        pending: list[Job] = []
        size = _BATCH_MAX
        backoff_s = _FIRST_BACKOFF_S
        while self._collect(pending):
            batch = pending[:size]
            size = _BATCH_MAX
            try:
                with self._turn:
                    results = self._transact(batch)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer to whoever waits for it
                if is_unavailable(error):
                    self._hold(pending, error)
                    self._closing.wait(backoff_s)
                    backoff_s = min(2 * backoff_s, _LONGEST_BACKOFF_S)
                elif len(batch) > 1:
                    size = len(batch) // 2  # Until what is at fault is alone.
                else:
                    self._refuse(pending.pop(0), error)
            else:
                del pending[: len(batch)]
                if self.trouble and self._has_room():
                    self.trouble = ""
                    log.info("store_available")
                self.transactions += 1
                backoff_s = _FIRST_BACKOFF_S
                self._finished(results)

    def _collect(self, pending: list[Job]) -> bool:
        """Add what is queued, after waiting for it if nothing is pending; tell whether there is anything to do."""
        with suppress(Empty):
            while len(pending) < _BATCH_MAX and not self._ended:
                jobs = self._queue.get(block=not pending)
                if jobs is None:
                    self._ended = True
                else:
                    pending.extend(jobs)
        return bool(pending)

    def _transact(self, jobs: list[Job]) -> list[tuple[Job, object]]:
        if self._lost is not None:
            raise self._lost
        batch = Batch(self._connection)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            results = [(job, job.run(batch)) for job in jobs]
            batch.flush()
            self._connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
            raise
        return results

    def _refuse(self, job: Job, error: Exception) -> None:
        refused = ValueError(f"The database does not take this: {type(error).__name__}: {error}")
        refused.__cause__ = error
        self._finished([(job, refused)])

    def _hold(self, pending: list[Job], error: Exception) -> None:
        """Keep the commits to try them again, and fail everything else; all of it, if there is no again."""
        trouble = f"The database cannot be written: {error}."
        if not self.trouble:
            log.warning("store_lost", reason=trouble)
        self.trouble = trouble
        if isinstance(error, sqlite3.Error) and self._lost is None and error.sqlite_errorcode in _FSYNC_FAILED:
            self._lost = error
            self._sync_failed(error)
        is_over = self._lost is not None or self._closing.is_set()
        unavailable = StoreUnavailableError(f"{self.trouble} Nothing that was confirmed is lost.")
        self._finished([(job, unavailable) for job in pending if is_over or not job.is_commit])
        pending[:] = [] if is_over else [job for job in pending if job.is_commit]
