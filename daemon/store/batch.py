"""What is done in a transaction of the writer: commits of the store, and calls that read and write."""

import asyncio
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from daemon.store.sql import Row
from daemon.store.statements import STATEMENTS
from daemon.store.writes import Outcome, Write


class Job(Protocol):
    """Something to do in a batch.

    Attributes:
        future: Gets what `run` returns, once that is committed.
        is_commit: Whether it waits for a database that cannot write now; otherwise it fails.
        hints: Whether others may wait for it.
    """

    future: asyncio.Future[Any]
    is_commit: bool
    hints: bool

    def run(self, batch: "Batch") -> object:
        """Do it."""


class Batch:
    """One transaction under way: the connection, and rows that are written many at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._waiting: defaultdict[str, list[Row]] = defaultdict(list)

    def add(self, sql: str, rows: Sequence[Row]) -> None:
        """Have a statement run for these rows, in order among those of the same statement, before the end."""
        self._waiting[sql].extend(rows)

    def flush(self) -> None:
        """Write what waits."""
        for sql, rows in self._waiting.items():
            self.connection.executemany(sql, rows)
        self._waiting.clear()


class Commit:
    """Writes that belong together, encoded: nothing that happens to their records later is seen."""

    __slots__ = ("_effects", "_guards", "_looks_back", "future", "hints", "is_commit")

    def __init__(self, writes: Sequence[Write], future: asyncio.Future[Outcome]) -> None:
        self.future = future
        self.is_commit = True
        self.hints = False
        self._looks_back = False
        self._guards: list[tuple[str, Row, Outcome]] = []
        self._effects: list[tuple[str, Sequence[Row]]] = []
        for write in writes:
            statement = STATEMENTS[type(write)]
            rows = statement.rows(write)
            if statement.hints is not None and statement.hints(write):
                self.hints = True
            if statement.looks_back:
                self._looks_back = True
            if statement.refusal is None:
                self._effects.append((statement.sql, rows))
            else:
                self._guards.append((statement.sql, rows[0], statement.refusal))

    def run(self, batch: Batch) -> Outcome:
        """Apply the guards, and have everything else applied if none refuses."""
        if self._looks_back:
            batch.flush()
        several = len(self._guards) > 1  # A single one that refuses has written nothing.
        if several:
            batch.connection.execute("SAVEPOINT guards")
        refused = self._refused(batch.connection)
        if several:
            if refused:
                batch.connection.execute("ROLLBACK TO guards")
            batch.connection.execute("RELEASE guards")
        if refused:
            return refused
        for sql, rows in self._effects:
            batch.add(sql, rows)
        return Outcome.APPLIED

    def _refused(self, connection: sqlite3.Connection) -> Outcome | None:
        for sql, row, refusal in self._guards:
            cursor = connection.execute(sql, row)
            if not (cursor.rowcount if cursor.description is None else cursor.fetchall()):
                return refusal
        return None


class Call:
    """A function that reads and writes, in the order of the commits."""

    __slots__ = ("_work", "future", "hints", "is_commit")

    def __init__(
        self, work: Callable[[sqlite3.Connection], object], future: asyncio.Future[Any], *, hints: bool
    ) -> None:
        self.future = future
        self.is_commit = False
        self.hints = hints
        self._work = work

    def run(self, batch: Batch) -> object:
        """Call it, once everything before it is written."""
        batch.flush()
        return self._work(batch.connection)
