"""A PostgreSQL database as stores use it: a connection that commits, one for news, and some for everything else."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from daemon.errors import StoreUnavailableError
from daemon.store import postgres_queries as queries
from daemon.store.postgres_batch import Commit
from daemon.store.postgres_claims import Claims
from daemon.store.postgres_link import Address, Link, Readers
from daemon.store.postgres_lists import Lists
from daemon.store.postgres_news import News
from daemon.store.postgres_schema import migrate
from daemon.store.postgres_writer import Writer
from daemon.store.sql import Row
from daemon.store.writes import Outcome, Write

T = TypeVar("T")

CLOSED = "The store is not open."


class PostgresDatabase:
    """Opens, closes and commits; `_read` and `_call` are for what a store asks. Its arguments are `PostgresStore`'s."""

    def __init__(self, url: str, *, app: str, schema: str, migrates: bool) -> None:
        self._migrates = migrates
        self._address = Address(url, schema)
        self._readers = Readers(self._address)
        self._news = News(self._address, app=app, told=self._call_back)
        self._writer = Writer(self._address.connect, hinted=self._hinted)
        self._claims = Claims(self._call)
        self._hints: list[Callable[[], object]] = []
        self._collation = "default"
        self._is_open = False

    async def open(self) -> None:
        link = await self._address.connect()
        try:
            await migrate(link, self._address.schema, migrates=self._migrates)
            self._lists = Lists(await link.fetchval(queries.COLLATION))
            await self._readers.open()
            await self._news.open()
        except BaseException:
            link.terminate()
            raise
        self._loop = asyncio.get_running_loop()
        self._writer.start(link)
        self._is_open = True

    async def aclose(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        await self._writer.aclose()
        await self._news.aclose()
        await self._readers.aclose()

    @property
    def trouble(self) -> str:
        return self._writer.trouble if self._is_open else CLOSED

    @property
    def transactions(self) -> int:
        """How many transactions of commits there were; many commits share one."""
        return self._writer.transactions

    def commit(self, *writes: Write) -> Awaitable[Outcome]:
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        if self._is_open:
            self._writer.submit(Commit(writes, future))
        else:
            future.set_exception(StoreUnavailableError(CLOSED))
        return future

    # --- hints ---
    def on_hint(self, callback: Callable[[], object]) -> Callable[[], None]:
        self._hints.append(callback)
        return lambda: self._hints.remove(callback)

    def _call_back(self) -> None:
        for callback in tuple(self._hints):
            callback()

    def _hinted(self) -> None:
        self._loop.call_soon(self._call_back)  # after whoever waits for the commit
        self._news.tell()

    # --- connections ---
    async def _read(self, query: str, *values: object) -> list[Row]:
        if not self._is_open:
            raise StoreUnavailableError(CLOSED)
        return await self._readers.read(query, *values)

    async def _call(self, work: Callable[[Link], Awaitable[T]]) -> T:
        if not self._is_open:
            raise StoreUnavailableError(CLOSED)
        return await self._readers.call(work)
