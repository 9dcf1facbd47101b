"""What is done in a transaction of the writer: commits of the store, and calls that read and write."""

import asyncio
import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Protocol

from daemon.store.model import FenceRun, Outcome, Write
from daemon.store.sql import STATEMENTS, Row, inserting

_ROWS_AT_ONCE = (64, 16, 4, 1)
_FEW_FENCES = 4  # as many are looked at one by one in the time that one look at all takes
_FENCE = STATEMENTS[FenceRun].sql
_REFUSED_FENCES = """
    SELECT value ->> 0, value ->> 1 FROM json_each(?) LEFT JOIN runs ON runs.key = value ->> 0
    WHERE runs.owner IS NOT value ->> 1"""


class Job(Protocol):
    """Something to do in a batch.

    Attributes:
        future: Gets what `run` returns, once that is committed.
        fences: (key, owner) of every run that has to be owned so.
        is_commit: Whether it waits for a database that cannot write now; otherwise it fails.
        hints: Whether others may wait for it.
    """

    future: asyncio.Future[Any]
    fences: Sequence[Row]
    is_commit: bool
    hints: bool

    def run(self, batch: "Batch") -> object:
        """Do it."""


class Batch:
    """One transaction under way: the connection, and what can be asked or written for many commits at a time.

    Each statement gives the interpreter's lock away and has to get it back from the busy event loop, so a few large
    ones take half the time of many small ones.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.passed: set[Row] = set()
        self._waiting: defaultdict[str, list[Row]] = defaultdict(list)

    def look_at_fences(self, jobs: Sequence["Job"]) -> None:
        """Find out at once which of these jobs' fences pass; runs change owners in calls only, so it stays like that.

        A fence of a run that one of these jobs inserts does not pass here, and is looked at when it is its turn.
        """
        fences = [fence for job in jobs for fence in job.fences]
        if len(fences) < _FEW_FENCES:
            self.passed = set()
            return
        refused = self.connection.execute(_REFUSED_FENCES, (json.dumps(fences),)).fetchall()
        self.passed = set(fences).difference(refused)

    def add(self, sql: str, rows: Sequence[Row]) -> None:
        """Have a statement run for these rows, in order among those of the same statement, before the end."""
        self._waiting[sql].extend(rows)

    def flush(self) -> None:
        """Write what waits."""
        for sql, rows in self._waiting.items():
            if not sql.startswith("INSERT"):
                self.connection.executemany(sql, rows)
                continue
            start = 0
            for count in _ROWS_AT_ONCE:
                while len(rows) - start >= count:
                    values = tuple(chain.from_iterable(rows[start : start + count]))
                    self.connection.execute(inserting(sql, count), values)
                    start += count
        self._waiting.clear()


class Commit:
    """Writes that belong together, encoded: nothing that happens to their records later is seen."""

    __slots__ = ("_effects", "_guards", "fences", "future", "hints", "is_commit")

    def __init__(self, writes: Sequence[Write], future: asyncio.Future[Outcome]) -> None:
        self.future = future
        self.is_commit = True
        self.hints = False
        fences: list[Row] = []
        self.fences: Sequence[Row] = fences
        self._guards: list[tuple[str, Row, Outcome]] = []
        self._effects: list[tuple[str, Sequence[Row]]] = []
        for write in writes:
            kind = type(write)
            statement = STATEMENTS[kind]
            rows = statement.rows(write)
            if statement.hints is not None and statement.hints(write):
                self.hints = True
            if kind is FenceRun:
                fences.append(rows[0])
            if statement.refusal is None:
                self._effects.append((statement.sql, rows))
            else:
                self._guards.append((statement.sql, rows[0], statement.refusal))

    def run(self, batch: Batch) -> Outcome:
        """Apply the guards, and have everything else applied if none refuses."""
        several = len(self._guards) > 1  # A single one that refuses has written nothing.
        if several:
            batch.connection.execute("SAVEPOINT guards")
        refused = self._refused(batch)
        if several:
            if refused:
                batch.connection.execute("ROLLBACK TO guards")
            batch.connection.execute("RELEASE guards")
        if refused:
            return refused
        for sql, rows in self._effects:
            batch.add(sql, rows)
        return Outcome.APPLIED

    def _refused(self, batch: Batch) -> Outcome | None:
        for sql, row, refusal in self._guards:
            if sql is _FENCE and row in batch.passed:
                continue
            cursor = batch.connection.execute(sql, row)
            if not (cursor.rowcount if cursor.description is None else cursor.fetchall()):
                return refusal
        return None


class Call:
    """A function that reads and writes, in the order of the commits."""

    __slots__ = ("_work", "fences", "future", "hints", "is_commit")

    def __init__(
        self, work: Callable[[sqlite3.Connection], object], future: asyncio.Future[Any], *, hints: bool
    ) -> None:
        self.future = future
        self.fences: Sequence[Row] = ()
        self.is_commit = False
        self.hints = hints
        self._work = work

    def run(self, batch: Batch) -> object:
        """Call it, once everything before it is written."""
        batch.flush()
        return self._work(batch.connection)
