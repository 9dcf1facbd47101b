"""The daemon in the foreground: an application, its API and its watchdog, from the first line to the last."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.app import App
from daemon.clock import Clock, Timer
from daemon.collector import Collector
from daemon.config import Config, load_config, restart_keys
from daemon.declared import jobs_of, misnamed
from daemon.discovery import Discovered
from daemon.errors import ConfigurationError, StoreUnavailableError
from daemon.http.address import Address
from daemon.lifecycle import Lifecycle, State
from daemon.log import configure_logging, get_logger
from daemon.systemd import Notifier
from daemon.watchdog import LoopMonitor
from daemon.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.http.server import HttpServer

_LOOK_S = 2.0
_API_WAITS_S = 1.0
_WAIT_S = 30.0
log = get_logger(__name__)


async def serve(config_path: Path, config: Config, discovered: Discovered) -> None:
    """Run the daemon until a signal stops it.

    Args:
        config_path: Read again on SIGHUP.
        config: What it says now.
        discovered: The application.

    Raises:
        ConfigurationError: A configured schedule is wrong.
        OSError: The address of the API is taken.
        StoreUnavailableError: The disk failed, and what it holds is uncertain until the daemon is started again.
    """

    def disk_failed(error: Exception) -> None:
        told = StoreUnavailableError(
            f"The disk could not confirm a write: {error}. Nothing that was confirmed is lost; "
            "the daemon ended, to go on from what is on the disk when it is started again."
        )
        for _ in range(2):  # At once: what is going on could not be recorded any more.
            lifecycle.stop("the disk failed", told)

    def store_away(error: StoreUnavailableError) -> None:
        lifecycle.set_status(f"WAITING for the store: {error}")
        notifier.extend_timeout(_WAIT_S)

    app = App(config, discovered, is_daemon=True, disk_failed=disk_failed, store_away=store_away)
    notifier = Notifier.from_environ()

    async def reload() -> None:
        await _reload(app, config_path)

    lifecycle = Lifecycle(app.clock, notifier, grace_s=config.daemon.shutdown_grace_s, reload=reload)
    monitor = LoopMonitor(app.clock, notifier)
    api = _api(app, lifecycle, monitor) if config.http.enabled else None
    if api is not None:
        lifecycle.add("http", api)  # first: where somebody else listens, nothing is begun
    lifecycle.add("application", app)
    lifecycle.add("work", Work(app))
    if api is not None:
        lifecycle.add("listening", Listening(api))
    lifecycle.add("watchdog", monitor)
    lifecycle.add("status", StatusLine(app, lifecycle))
    lifecycle.add("collector", Collector())  # last: what all the others have made is there to stay
    await lifecycle.run()


def _api(app: App, lifecycle: Lifecycle, monitor: LoopMonitor) -> "Api":
    async def live() -> dict[str, bool]:
        return {"loop": monitor.is_well()}

    async def ready() -> dict[str, bool]:
        return {"started": lifecycle.state is State.READY, **await app.checks()}

    def server() -> "HttpServer":
        # The web framework is a third of the start-up time: runs that a dead process left do not wait for it.
        from daemon.http.api import create_api  # noqa: PLC0415
        from daemon.http.ports import ApiPorts  # noqa: PLC0415
        from daemon.http.server import HttpServer  # noqa: PLC0415

        ports = ApiPorts(
            app=config.app.name,
            engine=app.engine,
            events=app.events,
            bus=app.bus,
            jobs=app.desk,
            clock=app.clock,
            http=config.http,
            max_payload_bytes=config.daemon.max_payload_bytes,
            live=live,
            ready=ready,
            draining=lambda: app.draining,
            away=app.is_away_for,
            subscribers=lambda: app.queues,
            fares=lambda: app.consumption.fares(app.queues),
        )
        return HttpServer(create_api(ports), address)

    config = app.config
    address = Address(config.http.host, config.http.port)
    return Api(address, server, app.clock)


async def _reload(app: App, config_path: Path) -> None:
    """Take up a changed config.toml; a wrong one changes nothing."""
    config = load_config(config_path)
    found = app.discovered
    if problems := misnamed(found, config):
        raise ConfigurationError(problems)
    jobs_of(found, config)
    before = app.config
    await app.reload(config)
    configure_logging(config.log, app=config.app.name)
    log.info("configuration_reloaded", needs_restart=restart_keys(before, config))


class Api:
    """The API: its address is taken first, and it answers once work is under way, or has not begun for a second.

    Who connects before that waits.

    Args:
        address: Where it listens.
        make: Imports and returns what answers; called in a thread, so that work goes on meanwhile.
        clock: Tells when the second is over: what takes long at a start, the API tells.
    """

    def __init__(self, address: Address, make: "Callable[[], HttpServer]", clock: Clock) -> None:
        self._address = address
        self._make = make
        self._clock = clock
        self._wanted = asyncio.Event()
        self._server: HttpServer | None = None
        self._timer: Timer | None = None
        self._beginning: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take the address."""
        await self._address.take()
        self._timer = self._clock.call_later(_API_WAITS_S, self._wanted.set)
        self._beginning = asyncio.create_task(self._begin(), name="api")

    async def answering(self) -> None:
        """Return once it answers."""
        self._wanted.set()
        if self._beginning is not None:
            await self._beginning

    async def _begin(self) -> None:
        await self._wanted.wait()
        self._server = await asyncio.to_thread(self._make)
        await self._server.start()

    async def aclose(self) -> None:
        """Answer what is going on, and nothing more."""
        for each in (self._timer, self._beginning):
            if each is not None:
                each.cancel()
        if self._beginning is not None:
            await asyncio.wait([self._beginning])
        if self._server is not None:
            await self._server.aclose()
        self._address.release()


class Listening:
    """Waits until the API answers: a daemon that does not is not ready."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def start(self) -> None:
        """Have it answer."""
        await self._api.answering()

    async def aclose(self) -> None:
        """There is nothing to close: the API outlives what it tells of."""


class StatusLine:
    """Keeps the line that `systemctl status` shows true: the broker's state is there, and no reason to restart."""

    def __init__(self, app: App, lifecycle: Lifecycle) -> None:
        self._app = app
        self._lifecycle = lifecycle
        self._shown = ""
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Show the status, and look every few seconds whether it has changed."""
        self._show()
        self._task = asyncio.create_task(self._look(), name="status")

    async def aclose(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _look(self) -> None:
        while True:
            await self._app.clock.sleep(_LOOK_S)
            self._show()

    def _show(self) -> None:
        app = self._app
        broker = "connected" if app.bus.connected else "NOT CONNECTED"
        subscribers, jobs = len(app.consumption.dispatchers), len(app.jobs)
        text = f"{_counted(subscribers, 'subscriber')}, {_counted(jobs, 'job')}; broker {broker}"
        if app.store.trouble:
            text += f"; store: {app.store.trouble}"
        if text != self._shown:
            self._shown = text
            self._lifecycle.set_status(text)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
