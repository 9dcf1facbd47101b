"""Starts services in order, waits for a signal, drains them and stops them in reverse.

    starting --> ready --> stopping --> stopped
        |                     ^
        +---------------------+   a signal while it starts; a start that fails goes straight to `stopped`

Stopping has three parts: every service takes nothing new (`quiesce`), what was taken may end (`drain`) for the grace
period or until a second signal, then every service is closed, which cancels what is left.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from daemon.clock import Clock
from daemon.errors import ConfigurationError
from daemon.log import get_logger
from daemon.systemd import Notifier

_CLOSE_S = 10.0
_EXTEND_EVERY_S = 10.0
_EXTEND_BY_S = 30.0
_log = get_logger(__name__)


class Service(Protocol):
    """A part of the daemon that runs as long as it does."""

    async def start(self) -> None:
        """Return when it works; one that raises, or is cancelled, leaves nothing behind."""

    async def aclose(self) -> None:
        """Stop at once, cancelling what still runs; called once, and only after `start` has returned."""


@runtime_checkable
class Draining(Protocol):
    """A service whose work in progress may end before it is closed."""

    async def quiesce(self) -> None:
        """Take nothing new from now on."""

    async def drain(self) -> None:
        """Return when nothing that was taken is left; cancelled when the grace period is over."""


class State(StrEnum):
    """Where the daemon is in its life; readiness is 503 in all but `ready`."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    STOPPED = "stopped"


class Lifecycle:
    """The daemon's services, in the order of their start.

    Args:
        clock: For the grace period.
        notifier: Tells systemd.
        grace_s: How long work in progress may take to end, in seconds.
        reload: Called on SIGHUP; what it raises is logged, and changes nothing here.
        close_s: How long closing one service may take, in seconds.
    """

    def __init__(
        self,
        clock: Clock,
        notifier: Notifier,
        *,
        grace_s: float,
        reload: Callable[[], Awaitable[None]] | None = None,
        close_s: float = _CLOSE_S,
    ) -> None:
        self.state = State.STARTING
        self._clock = clock
        self._notifier = notifier
        self._grace_s = grace_s
        self._reload = reload
        self._close_s = close_s
        self._services: list[tuple[str, Service]] = []
        self._started: list[tuple[str, Service]] = []
        self._status = ""
        self._reload_failed = False
        self._error: BaseException | None = None
        self._reload_wanted = asyncio.Event()
        self._stop_wanted = asyncio.Event()
        self._stop_at_once = asyncio.Event()

    def add(self, name: str, service: Service) -> None:
        """Have `service` started after those that were added before, and stopped before them."""
        self._services.append((name, service))

    def set_status(self, text: str) -> None:
        """Set the line that `systemctl status` shows."""
        self._status = text
        self._notifier.status(self._status_line())

    def stop(self, reason: str, error: BaseException | None = None) -> None:
        """Begin to stop; asked a second time, stop at once.

        Args:
            reason: For the log.
            error: What made it necessary, raised by `run` at the end.
        """
        if error is not None and self._error is None:
            self._error = error
        if self._stop_wanted.is_set():
            self._stop_at_once.set()
            return
        _log.info("daemon_stopping", reason=reason)
        self._stop_wanted.set()

    async def run(self) -> None:
        """Start everything, and return when it was told to stop and has stopped.

        Raises:
            Exception: What a service's start raised, or what `stop` was given.
        """
        started_s = self._clock.monotonic_s()
        with _Signals(self.stop, self._reload_wanted.set):
            try:
                if await self._start():
                    self.state = State.READY
                    self._notifier.ready(self._status_line())
                    _log.info("daemon_started", duration_ms=round((self._clock.monotonic_s() - started_s) * 1_000, 1))
                    await self._serve()
                    await self._drain()
            finally:
                self.state = State.STOPPING
                await self._close()
                self.state = State.STOPPED
                _log.info("daemon_stopped")
        if self._error is not None:
            raise self._error

    async def _start(self) -> bool:
        """Start all services; False if a signal came before that was done."""
        starting = asyncio.create_task(self._start_all())
        await self._first(starting, self._stop_wanted.wait())
        return not starting.cancelled() and (starting.result() or True)

    async def _start_all(self) -> None:
        for name, service in self._services:
            _log.debug("service_starting", service=name)
            await service.start()
            self._started.append((name, service))

    async def _serve(self) -> None:
        reloading = asyncio.create_task(self._reload_whenever_wanted())
        await self._stop_wanted.wait()
        await _cancelled(reloading)

    async def _reload_whenever_wanted(self) -> None:
        while True:
            await self._reload_wanted.wait()
            self._reload_wanted.clear()
            if self._reload is None:
                continue
            self._notifier.reloading(self._clock.monotonic_s())
            self._reload_failed = not await _reloaded(self._reload)
            self._notifier.ready(self._status_line())

    def _status_line(self) -> str:
        # `systemctl reload` sends a signal and knows nothing of a wrong file.
        return self._status + "; RELOAD FAILED, see the log" * self._reload_failed

    async def _drain(self) -> None:
        self.state = State.STOPPING
        self._notifier.stopping()
        draining = asyncio.create_task(self._drain_all())
        async with self._extended():
            await self._first(draining, self._stop_at_once.wait(), self._clock.sleep(self._grace_s))
        if draining.cancelled():
            _log.warning("drain_cut_short", grace_s=self._grace_s)

    async def _drain_all(self) -> None:
        services = [(name, each) for name, each in reversed(self._started) if isinstance(each, Draining)]
        for name, service in services:
            await _logged("service_not_quiet", name, service.quiesce())
        async with asyncio.TaskGroup() as group:
            for name, service in services:
                group.create_task(_logged("service_not_drained", name, service.drain()))

    async def _close(self) -> None:
        self._notifier.extend_timeout(self._close_s * (len(self._started) + 1))
        while self._started:
            name, service = self._started.pop()
            closing = asyncio.create_task(_logged("service_not_closed", name, service.aclose()))
            await self._first(closing, self._clock.sleep(self._close_s))
            if closing.cancelled():
                _log.error("service_not_closed", service=name, reason=f"not done within {self._close_s:g} s")

    async def _first(self, task: asyncio.Task[None], *others: Awaitable[object]) -> None:
        """Return when the task or one of the others is done, having cancelled what is not."""
        rivals = [asyncio.ensure_future(each) for each in others]
        try:
            await asyncio.wait([task, *rivals], return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancelled(task, *rivals)

    @asynccontextmanager
    async def _extended(self) -> AsyncIterator[None]:
        """Keep systemd patient inside the block."""

        async def extend() -> None:
            while True:
                self._notifier.extend_timeout(_EXTEND_BY_S)
                await self._clock.sleep(_EXTEND_EVERY_S)

        extending = asyncio.create_task(extend())
        try:
            yield
        finally:
            await _cancelled(extending)


class _Signals:
    """SIGTERM and SIGINT stop, SIGHUP reloads, inside the block; the loop then has its own handling back."""

    def __init__(self, stop: Callable[[str], None], reload: Callable[[], None]) -> None:
        self._stop = stop
        self._reload = reload

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        # A loop in another thread than the main one cannot have them: whoever runs it calls `stop`.
        with suppress(RuntimeError, ValueError):
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._stop, number.name)
            loop.add_signal_handler(signal.SIGHUP, self._reload)

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)


async def _cancelled(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks and wait for their end; what one raised meanwhile is left in it."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def _reloaded(reload: Callable[[], Awaitable[None]]) -> bool:
    """Reload, and tell whether that succeeded."""
    try:
        await reload()
    except ConfigurationError as error:
        # A mistake in a file: where in our code it was found helps nobody.
        _log.error("reload_failed", error=type(error).__name__, reason=str(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, it changes nothing
        _log.error("reload_failed", exc_info=error)
    else:
        return True
    return False


async def _logged(event: str, name: str, work: Awaitable[None]) -> None:
    """Do `work`, and log what it raises: the others have to be stopped too."""
    try:
        await work
    except Exception as error:  # noqa: BLE001 - whatever it is, it is logged
        _log.error(event, service=name, exc_info=error)
