"""One supervised connection to RabbitMQ, and the manner in which aio-pika is called.

It is aio-pika's plain connection. Its robust one would restore everything by itself, and one queue that the broker
refuses would then take the connection from every subscriber, over and over.
"""

import asyncio
import contextlib
import math
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import aiormq
from aio_pika import exceptions
from aio_pika.abc import AbstractChannel
from aiormq.exceptions import ChannelAccessRefused, ChannelLockedResource

from daemon.clock import Clock
from daemon.errors import BrokerUnavailableError
from daemon.events.rabbitmq.target import Target
from daemon.events.rabbitmq.transport import SafeConnection, SafeTransport

T = TypeVar("T")

CLOSE_TIMEOUT_S = 5.0
BACKOFF_BASE_S = 0.1
BACKOFF_MAX_S = 5.0
STEADY_S = 10.0
SCRATCH_CHANNELS = 16
CHANNELS_MAX = 2047  # RabbitMQ's defaults, where it does not say
FRAME_MAX = 131_072
_BLOCKED = "it is low on memory or disk: see its log."

# What the broker answers about one entity; everything else means that it is not there at the moment.
REFUSALS = (
    ChannelAccessRefused,
    ChannelLockedResource,
    exceptions.ChannelNotFoundEntity,
    exceptions.ChannelPreconditionFailed,
)


async def call(answer: Awaitable[T], what: str) -> T:
    """Await the broker's answer, and let nothing through but `REFUSALS` and one kind of error.

    The library ends pending calls with a bare CancelledError when the connection goes: without this, a task that
    nobody cancelled would silently end.

    Raises:
        BrokerUnavailableError: There was no answer; whether the broker did it is unknown.
    """
    try:
        return await answer
    except REFUSALS:
        raise
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise BrokerUnavailableError(f"RabbitMQ went away while it was asked to {what}.") from error
    except (exceptions.AMQPError, RuntimeError, OSError, TimeoutError) as error:
        reason = str(error) or type(error).__name__
        raise BrokerUnavailableError(f"RabbitMQ did not {what}: {reason}") from error


async def in_time(work: Awaitable[T], timeout_s: float, trouble: Callable[[], str]) -> T:
    """Wait for something that needs the connection, for a while.

    Raises:
        BrokerUnavailableError: There is none; `trouble` tells why.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await work
    except TimeoutError as error:
        raise BrokerUnavailableError(trouble() or "RabbitMQ did not answer in time.") from error


def backoff_s(failures: int, chance: float, *, cap_s: float = BACKOFF_MAX_S) -> float:
    """Return the wait after the given number of failures in a row, half of it random, in seconds."""
    return min(BACKOFF_BASE_S * 2.0 ** min(failures - 1, 16), cap_s) * (1.0 - chance / 2)


class Link:
    """A connection that is made again whenever it is lost, by a task of its own.

    Args:
        role: `consume` or `publish`; a broker that blocks publishers must not stop acknowledgements.
        target: Where to.
        clock: Waits between attempts.
        chance: Random numbers from 0 to 1, so that a fleet does not come back all at once.
        changed: Called when `connected` or `trouble` has changed.
    """

    def __init__(
        self, role: str, target: Target, *, clock: Clock, chance: Callable[[], float], changed: Callable[[], None]
    ) -> None:
        self.role = role
        self.target = target
        self.trouble = ""
        self.generation = 0
        self._clock = clock
        self._chance = chance
        self._changed = changed
        self._connection: SafeConnection | None = None
        self._up = asyncio.Event()
        self._due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._last_number = 0  # of a channel
        self._idle: list[AbstractChannel] = []
        self._slots = asyncio.Semaphore(SCRATCH_CHANNELS)
        self._retiring: set[asyncio.Task[None]] = set()
        self._dropped = ""  # why we gave up the connection ourselves

    @property
    def connected(self) -> bool:
        """Whether there is a connection at the moment."""
        return self._connection is not None

    @property
    def frame_max(self) -> int:
        """How long a frame may be, in bytes."""
        return (self._underlay.connection_tune.frame_max if self._underlay else 0) or FRAME_MAX

    def start(self) -> None:
        """Begin to connect."""
        self._task = asyncio.create_task(self._supervise(), name=f"rabbitmq-{self.role}")

    async def aclose(self) -> None:
        """Give up the connection, and make no other."""
        for retiring in self._retiring:
            retiring.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    def nudge(self) -> None:
        """Try again at once: somebody else has just reached the broker."""
        self._due.set()

    async def wait_up(self) -> None:
        """Return when there is a connection."""
        await self._up.wait()

    async def unblocked(self) -> None:
        """Return when the broker takes messages: it blocks publishers while it is low on memory or disk."""
        if self._underlay is not None:
            await self._underlay.ready()

    @property
    def blocked(self) -> str:
        """Why the broker takes no messages at the moment, in one sentence; empty if it does."""
        return _BLOCKED if self._connection is not None and self._connection.is_blocked else ""

    def drop(self, generation: int, why: str) -> None:
        """Give up a connection on which the broker does not answer; nothing if it is another one by now."""
        if self._connection is not None and generation == self.generation:
            self._dropped = why
            self._connection.abort()

    async def channel(self, *, confirms: bool = False) -> AbstractChannel:
        """Open a channel; the caller closes it.

        Raises:
            BrokerUnavailableError: There is no connection, or it has no more channels.
        """
        connection, underlay = self._connection, self._underlay
        if connection is None or underlay is None:
            raise BrokerUnavailableError(self.trouble or f"RabbitMQ at {self.target.place} is not connected yet.")
        # The library would count upwards from the highest number and, after enough channels, beyond what is allowed.
        most = underlay.connection_tune.channel_max or CHANNELS_MAX
        numbers = (number % most + 1 for number in range(self._last_number, self._last_number + most))
        number = next((number for number in numbers if number not in underlay.channels), None)
        if number is None:
            raise BrokerUnavailableError(f"RabbitMQ allows {most} channels on a connection, and all are in use.")
        self._last_number = number
        channel = connection.channel(number, publisher_confirms=confirms, on_return_raises=confirms)
        await call(channel.initialize(), "open a channel")
        return channel

    def retire(self, channel: AbstractChannel, *, after_s: float) -> None:
        """Close a channel of ours later, when nobody waits on it any more."""

        async def retire() -> None:
            await self._clock.sleep(after_s)
            await close(channel)

        retiring = asyncio.create_task(retire(), name="rabbitmq-retire")
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)

    @contextlib.asynccontextmanager
    async def scratch(self) -> AsyncIterator[AbstractChannel]:
        """Lend a channel that a refusal may close, for declarations; at most a few at one time."""
        async with self._slots:
            while self._idle and self._idle[-1].is_closed:
                self._idle.pop()
            channel = self._idle.pop() if self._idle else await self.channel()
            try:
                yield channel
            except BaseException:
                await close(channel)  # whatever went wrong, the next one starts clean
                raise
            self._idle.append(channel)

    async def _supervise(self) -> None:
        failures = 0
        try:
            while True:
                try:
                    connection = await self._connect()
                except BrokerUnavailableError as error:
                    self._down(str(error))
                else:
                    since_s = self._clock.monotonic_s()
                    await self._serve(connection)
                    failures = 0 if self._clock.monotonic_s() - since_s > STEADY_S else failures
                failures += 1
                await self._pause(backoff_s(failures, self._chance()))
        finally:
            self._down("The connection was closed by us.")

    async def _pause(self, wait_s: float) -> None:
        self._due.clear()
        timer = self._clock.call_later(wait_s, self._due.set)
        try:
            await self._due.wait()
        finally:
            timer.cancel()

    async def _connect(self) -> SafeConnection:
        target = self.target
        name = f"{target.app}/{socket.gethostname()}/{os.getpid()}/{self.role}"
        try:
            tls = await asyncio.to_thread(target.tls)
            url = target.url.update_query(heartbeat=str(math.ceil(target.heartbeat_s)), name=name)
            connection = SafeConnection(url, SafeTransport(tls, with_id=self.role == "publish"))
            await connection.connect(target.timeout_s)
        except (Exception, asyncio.CancelledError) as error:  # whatever it is, there is no connection
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and (task is None or task.cancelling()):
                raise
            raise BrokerUnavailableError(target.why(error)) from error
        return connection

    async def _serve(self, connection: SafeConnection) -> None:
        lost: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        connection.close_callbacks.add(lambda _, error: lost.set_result(error))
        self._idle.clear()
        self._connection = connection
        self.generation += 1
        self.trouble = ""
        self._up.set()
        self._changed()
        try:
            await asyncio.wait({lost})
            error = lost.result()
            why = "it fell silent" if isinstance(error, asyncio.CancelledError) else str(error or "") or "it was closed"
            why, self._dropped = self._dropped or why, ""
            self._down(f"The connection to RabbitMQ at {self.target.place} was lost: {why}.")
        finally:
            self._connection = None
            self._up.clear()
            await close(connection)

    @property
    def _underlay(self) -> aiormq.abc.AbstractConnection | None:
        transport = self._connection.transport if self._connection else None
        return transport.connection if transport else None

    def _down(self, trouble: str) -> None:
        self._connection = None
        self._up.clear()
        self.trouble = trouble
        self._changed()


async def close(what: AbstractChannel | SafeConnection) -> None:
    """Close a channel or a connection; one that does not answer in time is left to itself."""
    if what.is_closed:
        return
    closing = asyncio.ensure_future(what.close())
    closing.add_done_callback(lambda done: None if done.cancelled() else done.exception())
    await asyncio.wait({closing}, timeout=CLOSE_TIMEOUT_S)
