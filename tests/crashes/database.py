"""The database that all processes share, and the wire to it that is cut when one of them dies."""

import asyncio
import itertools
from asyncio import events
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Protocol

import asyncpg

from daemon.store.memory import MemoryStore
from daemon.store.port import Store
from daemon.store.postgres import PostgresStore
from daemon.store.sqlite import SqliteStore
from daemon.store.writes import FenceRun, InsertRun, Outcome, PutStep, UpdateChild, UpdateRun, Write
from tests.contract.engine.processes import APP
from tests.crashes.loop import StepLoop
from tests.services import emptying

Commit = tuple[Write, ...]


class Database(Protocol):
    """A store whose answers are there at once: whoever waits for them is stopped by the wire, never in here."""

    store: Store

    def answer(self, method: str, *args: Any, **options: Any) -> Any:
        """Return what the store answers."""

    def close(self) -> None:
        """Forget everything."""


class MemoryDatabase:
    """In memory, where nothing waits."""

    def __init__(self) -> None:
        self.store: Store = MemoryStore()

    def answer(self, method: str, *args: Any, **options: Any) -> Any:
        waiting: Generator[Any, Any, Any] = getattr(self.store, method)(*args, **options).__await__()
        try:
            next(waiting)
        except StopIteration as end:
            return end.value
        raise AssertionError("the store in memory waits for something")

    def close(self) -> None:
        pass


class _OwnLoop:
    """A store that has a loop of its own, which turns only while somebody waits for an answer."""

    store: Store

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()

    def answer(self, method: str, *args: Any, **options: Any) -> Any:
        return self._run(getattr(self.store, method), *args, **options)

    def _run(self, method: Callable[..., Awaitable[Any]], *args: Any, **options: Any) -> Any:
        async def call() -> Any:
            return await method(*args, **options)

        before = events._get_running_loop()
        events._set_running_loop(None)
        try:
            return self._loop.run_until_complete(call())
        finally:
            events._set_running_loop(before)


class SqliteDatabase(_OwnLoop):
    """On SQLite, each in a file of its own."""

    _numbers = itertools.count(1)

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.store = SqliteStore(folder / f"{next(self._numbers)}.db")
        self._run(self.store.open)

    def close(self) -> None:
        self._run(self.store.aclose)
        self._loop.close()


class PostgresDatabase(_OwnLoop):
    """On PostgreSQL, in one schema: whoever closes it leaves it empty for the next history, and open."""

    def __init__(self, url: str, schema: str) -> None:
        super().__init__()
        self._run(self._open, url, schema)
        self._control = self._run(asyncpg.connect, url)
        self._schema = schema

    async def _open(self, url: str, schema: str) -> None:
        self.store = PostgresStore(url, app=APP, schema=schema)  # its connections belong to the loop that makes it
        await self.store.open()

    def close(self) -> None:
        self._run(self._control.execute, emptying(self._schema))

    def end(self) -> None:
        """Close the store itself."""
        self._run(self.store.aclose)
        self._run(self._control.close)
        self._loop.close()


class Wire:
    """A process's store: what is submitted is on its way for a while, and so is the answer.

    Commits land in the order in which they were submitted, as records were then. Each lands in a step of the loop of
    its own, and whoever waits for it learns that in a later one: so a process that is stopped between any two steps
    dies before its commit is applied, or afterwards without having learned of it.

    Args:
        landed: Told of every commit, and what became of it.
        random: How long things are on their way; without it, for one step each.

    Attributes:
        on_its_way: The commits that have not landed yet.
    """

    def __init__(
        self,
        database: Database,
        loop: StepLoop,
        landed: Callable[[Commit, Outcome], object],
        random: Random | None = None,
    ) -> None:
        self.on_its_way: deque[tuple[Commit, asyncio.Future[Outcome]]] = deque()
        self.claimed: Callable[[list[Any]], object] = len
        self._database = database
        self._loop = loop
        self._landed = landed
        self._random = random
        self._is_cut = False
        self.trouble = ""

    def commit(self, *writes: Write) -> Awaitable[Outcome]:
        self._check()
        outcome: asyncio.Future[Outcome] = self._loop.create_future()
        self.on_its_way.append((tuple(map(_copy, writes)), outcome))
        self._hop(self._delay(), self._land)
        return outcome

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **options: Any) -> Any:
            self._check()
            answered: asyncio.Future[Any] = self._loop.create_future()

            def answer() -> None:
                found = self._database.answer(method, *args, **options)
                if method == "claim_runs":
                    self.claimed(found)
                self._hop(self._delay(), partial(_tell, answered, found))

            self._hop(self._delay(), answer)
            return await answered

        return call

    def land_all(self, count: int | None = None) -> list[tuple[Commit, Outcome]]:
        """Have what is on its way (or so much of it) land now, and return what became of it."""
        found = []
        for _ in range(len(self.on_its_way) if count is None else count):
            writes, _ = self.on_its_way[0]
            found.append((writes, self._land()))
        return found

    def cut(self) -> None:
        """Have nothing reach the database any more."""
        self._is_cut = True

    def _land(self) -> Outcome:
        writes, answer = self.on_its_way.popleft()
        outcome: Outcome = self._database.answer("commit", *writes)
        self._landed(writes, outcome)
        _tell(answer, outcome)
        return outcome

    def _delay(self) -> int:
        return 0 if self._random is None else self._random.choice((0, 0, 1, 2, 5))

    def _hop(self, more: int, then: Callable[[], object]) -> None:
        if more:
            self._loop.call_soon(self._hop, more - 1, then)
        else:
            self._loop.call_soon(self._if_whole, then)

    def _if_whole(self, then: Callable[[], object]) -> None:
        if not self._is_cut:
            then()

    def _check(self) -> None:
        if self._is_cut:
            raise asyncio.CancelledError


def _tell(waiting: asyncio.Future[Any], answer: Any) -> None:
    if not waiting.done():
        waiting.set_result(answer)


def _copy(write: Write) -> Write:
    """Return a write as it is now: records change while they are on their way."""
    if isinstance(write, (InsertRun, UpdateRun, UpdateChild)):
        return replace(write, record=replace(write.record))
    return replace(write, record=replace(write.record)) if isinstance(write, PutStep) else write


def runs_in(commit: Commit) -> set[str]:
    """Return the keys of the runs that a commit would change as their owner."""
    keys = {write.record.run_key for write in commit if isinstance(write, PutStep)}
    keys |= {write.record.key for write in commit if isinstance(write, (UpdateRun, UpdateChild))}
    return keys | {write.key for write in commit if isinstance(write, FenceRun)}
