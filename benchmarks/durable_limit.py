"""What a disk and a database allow: rows that are committed together, for each of which somebody waits; no engine.

For `benchmarks.durable`. One table, one statement, one writer: what is waiting when a commit is done is the next one.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

import asyncpg

Row = tuple[str, int, str, bytes, float]
Waiting = tuple[Row, asyncio.Future[None]]

_OUTPUT = b'{"n": 1, "note": "' + b"x" * 120 + b'"}'
_TABLE = "CREATE TABLE {}(run TEXT, n INTEGER, state TEXT, output {}, at DOUBLE PRECISION, PRIMARY KEY (run, n)) {}"


class Writer:
    """Something that makes rows durable, many at a time."""

    def __init__(self, submit: Callable[[Waiting], object]) -> None:
        self._submit = submit
        self._numbers = count()
        self._loop = asyncio.get_running_loop()

    async def put(self) -> None:
        """Return when one more row is durable."""
        number = next(self._numbers)
        done: asyncio.Future[None] = self._loop.create_future()
        self._submit(((f"{number // 11:026d}", number % 11, "done", _OUTPUT, 1.5), done))
        await done


def _tell(batch: list[Waiting]) -> None:
    for _, done in batch:
        done.set_result(None)


@asynccontextmanager
async def sqlite_writer(path: Path, synchronous: str) -> AsyncIterator[Writer]:
    """Give a thread that writes to a SQLite file of its own."""
    queue: SimpleQueue[Waiting | None] = SimpleQueue()
    loop = asyncio.get_running_loop()

    def work() -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute(_TABLE.format("rows", "BLOB", "WITHOUT ROWID"))
        while (first := queue.get()) is not None:
            batch = [first]
            while not queue.empty() and (more := queue.get()) is not None:
                batch.append(more)
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?)", [row for row, _ in batch])
            connection.execute("COMMIT")
            loop.call_soon_threadsafe(_tell, batch)
        connection.close()

    thread = Thread(target=work)
    thread.start()
    try:
        yield Writer(queue.put)
    finally:
        queue.put(None)
        await asyncio.to_thread(thread.join)


@asynccontextmanager
async def postgres_writer(url: str) -> AsyncIterator[Writer]:
    """Give a task that writes to a table of its own."""
    connection = await asyncpg.connect(url)
    await connection.execute(_TABLE.format("bare_rows", "BYTEA", ""))
    queue: asyncio.Queue[Waiting] = asyncio.Queue()
    insert = "INSERT INTO bare_rows SELECT * FROM unnest($1::text[], $2::int[], $3::text[], $4::bytea[], $5::float8[])"

    async def work() -> None:
        while True:
            batch = [await queue.get()]
            await asyncio.sleep(0)  # whoever else is about to submit comes along
            while not queue.empty():
                batch.append(queue.get_nowait())
            await connection.execute(insert, *map(list, zip(*(row for row, _ in batch), strict=True)))
            _tell(batch)

    task = asyncio.create_task(work())
    try:
        yield Writer(queue.put_nowait)
    finally:
        task.cancel()
        await asyncio.wait([task])
        await connection.execute("DROP TABLE bare_rows")
        await connection.close()
