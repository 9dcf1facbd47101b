"""Connections to a PostgreSQL: how they are made, what their errors mean, and the ones that read."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

import asyncpg

from daemon.errors import StoreUnavailableError
from daemon.redact import redacted
from daemon.store.sql import Row

if TYPE_CHECKING:
    Link = asyncpg.Connection[asyncpg.Record]
else:
    Link = asyncpg.Connection  # generic in its stubs only

T = TypeVar("T")

CONNECT_S = 5.0
STATEMENT_S = 30.0
_READERS = 3
_CLOSE_S = 2.0
_SETTINGS = {
    "application_name": "sagad",
    "statement_timeout": f"{STATEMENT_S:.0f}s",
    "lock_timeout": "10s",
    # A process that hangs, or whose machine is gone, must not keep what it has locked for longer than its lease.
    "idle_in_transaction_session_timeout": "5s",
    "jit": "off",
    # Every statement has its index. What the database knows of a table that grows quickly is a minute old.
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
}

# Commits are few statements with few rows, or many: the same plan serves all, and finds each row by its index, without
# being made anew.
_WRITING = {**_SETTINGS, "plan_cache_mode": "force_generic_plan", "enable_hashjoin": "off", "enable_mergejoin": "off"}

# What a connection raises that is of no use any more, or cannot be made; the last one is the driver's own surprise at
# a connection that is lost in the middle of something.
LOST = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

# What a database says of what it was given; whatever else it says is no reason to give up what it was given.
_REFUSALS = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    ValueError,
    TypeError,
    OverflowError,
)

# What says no more than that this one connection is lost.
_LOST_ONE = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InternalClientError,
)


def is_refusal(error: BaseException) -> bool:
    """Tell whether an error says that the database was asked for something wrong, not that it cannot be used now."""
    return isinstance(error, _REFUSALS)


def unavailable(error: BaseException) -> StoreUnavailableError:
    """Return what to raise for an error that says that the database cannot be used now."""
    told = StoreUnavailableError(f"The database cannot be used: {reason(error)}.")
    told.__cause__ = error
    return told


def reason(error: BaseException) -> str:
    """Return what an error says, without the passwords in it."""
    if isinstance(error, TimeoutError):
        return "it does not answer"
    return redacted(str(error).strip().rstrip(".")) or type(error).__name__


async def _leave(_: object) -> None:
    """Reset nothing: nobody sets anything for a session, and it would be as long a way as the statement itself."""


async def fetch(link: Link, query: str, *values: object) -> list[Row]:
    """Return the rows of a query."""
    return cast("list[Row]", await link.fetch(query, *values))  # a record is as good as a tuple


def _terminate(connecting: asyncio.Task[Link]) -> None:
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().terminate()


class Address:
    """Where a database is, and the schema in it that sagad's tables are in."""

    def __init__(self, url: str, schema: str) -> None:
        self._url = url
        self.schema = schema
        self._connecting: set[asyncio.Task[Link]] = set()

    async def connect(self) -> Link:
        """Return a new connection, for commits.

        One that is being made cannot be given up without a trace: if whoever wants it is cancelled, it is ended once it
        is there.

        Raises:
            StoreUnavailableError: There is none to be had now.
        """
        connecting = asyncio.get_running_loop().create_task(asyncpg.connect(self._url, **self._options(_WRITING)))
        self._connecting.add(connecting)
        connecting.add_done_callback(self._connecting.discard)
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            connecting.add_done_callback(_terminate)
            raise
        except LOST as error:
            raise StoreUnavailableError(f"The database cannot be reached: {reason(error)}.") from error
        except ValueError as error:
            # Not what it says: that may be a part of the address, with the password.
            told = "storage.url is no address that the database driver understands; is a character of the password"
            raise StoreUnavailableError(f"{told} not percent-encoded? {type(error).__name__}") from None

    def pool(self) -> "asyncpg.Pool[asyncpg.Record]":
        """Return what makes connections as they are needed."""
        return asyncpg.create_pool(
            self._url,
            min_size=0,
            max_size=_READERS,
            max_inactive_connection_lifetime=60,
            command_timeout=STATEMENT_S + CONNECT_S,
            reset=_leave,
            **self._options(_SETTINGS),
        )

    def _options(self, settings: dict[str, str]) -> dict[str, Any]:
        return {"timeout": CONNECT_S, "server_settings": {**settings, "search_path": f'"{self.schema}"'}}


class Readers:
    """Connections for all that is not a commit.

    What has begun goes on if whoever waits for it is cancelled: a connection that is being made cannot be given up
    without a trace, and to give up a statement takes another connection.
    """

    def __init__(self, address: Address) -> None:
        self._pool = address.pool()
        self._going: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """Be ready to connect."""
        await self._pool

    async def aclose(self) -> None:
        """Close them; what is under way may end, for a moment."""
        try:
            async with asyncio.timeout(_CLOSE_S):
                if self._going:
                    await asyncio.wait(self._going)
                await self._pool.close()
        except LOST:
            self._pool.terminate()

    async def read(self, query: str, *values: object) -> list[Row]:
        """Return the rows of a query; once more on another connection if the first turns out to be lost."""
        return await self._to_the_end(self._read(query, *map(_kept, values)))

    async def call(self, work: Callable[[Link], Awaitable[T]]) -> T:
        """Have a function work in a transaction of its own, and return what it returned once that is durable."""
        return await self._to_the_end(self._call(work))

    async def _to_the_end(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.get_running_loop().create_task(work)
        self._going.add(task)
        task.add_done_callback(self._going.discard)
        try:
            return await asyncio.shield(task)
        except LOST as error:
            raise unavailable(error) from error

    async def _read(self, query: str, *values: object) -> list[Row]:
        with suppress(*_LOST_ONE):
            return cast("list[Row]", await self._pool.fetch(query, *values))
        return cast("list[Row]", await self._pool.fetch(query, *values))

    async def _call(self, work: Callable[[Link], Awaitable[T]]) -> T:
        async with self._pool.acquire() as link, link.transaction():
            return await work(cast("Link", link))


def _kept(value: object) -> object:
    return kept(value) if isinstance(value, str) else value


def kept(text: str) -> str:
    """Return a text as PostgreSQL can keep it: without NUL."""
    return text.replace("\0", "\ufffd")
