"""The composition root: the only module that names concrete classes."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

from daemon.backing import bus_of, store_of
from daemon.clock import Clock, SystemClock, new_id
from daemon.config import Config
from daemon.container import Services
from daemon.declared import awaited_events, declared_jobs, dropped_jobs, jobs_of, subscribers_of
from daemon.discovery import Discovered
from daemon.engine.engine import WorkflowEngine
from daemon.engine.in_flight import InFlight, in_flight
from daemon.engine.ports import Ports
from daemon.engine.recovery import Recovery
from daemon.engine.retention import Retention
from daemon.errors import StoreEmptyError, StoreUnavailableError
from daemon.events.bus import Bus
from daemon.events.consumption import Consumption
from daemon.events.handling import Surroundings
from daemon.events.outbox import Outbox
from daemon.events.publisher import EventBus
from daemon.events.subscriber import Subscriber
from daemon.schedule.claim import Surroundings as FiringSurroundings
from daemon.schedule.desk import JobDesk
from daemon.schedule.scheduler import Scheduler
from daemon.store.patience import patiently
from daemon.store.port import Store
from daemon.workflow.port import Engine


class App:
    """One application and everything that it runs on, in one process.

    It opens and closes the store, the bus, the engine, the outbox and the services; `Work` consumes and fires with it.
    What is not given is made as the configuration says; `look_s` is how often outbox and scheduler look without a hint.
    `disk_failed` is called in the event loop when the store that was made cannot tell any more what is on its disk:
    nothing is written from then on, and the process has to end. `store_away` is called again and again while the store
    is away at the start, which waits for it; without `store_away`, that is an error.
    """

    def __init__(
        self,
        config: Config,
        discovered: Discovered,
        *,
        is_daemon: bool,
        clock: Clock | None = None,
        store: Store | None = None,
        bus: Bus | None = None,
        services: Services | None = None,
        look_s: float = 2.0,
        disk_failed: Callable[[Exception], object] = lambda _: None,
        store_away: Callable[[StoreUnavailableError], object] | None = None,
    ) -> None:
        self.config = config
        self.discovered = discovered
        self.clock = clock or SystemClock()
        self.draining = False
        self._owner = new_id(self.clock.now_us())
        self._is_daemon = is_daemon
        self._store_away = store_away
        self._is_up = False
        self.services = services or Services(discovered.services)
        self.store = store or store_of(config, disk_failed)
        self.bus = bus or bus_of(config, self.store, self._owner, self.clock, lambda: self.recovery)
        limit = config.daemon.max_payload_bytes
        self.events = EventBus(self.bus, app=config.app.name, clock=self.clock, max_payload_bytes=limit)
        self.outbox = self._outbox(look_s)
        self.engine = self._engine()
        self.recovery = self._recovery()
        self.retention = self._retention()
        self.consumption = Consumption(self.bus, self._around_handlers())
        self.consumption.want(self._subscribers(config), self.options)
        self.jobs = jobs_of(discovered, config)
        dropped = dropped_jobs(discovered, config)
        self.scheduler = Scheduler(self.jobs, self._around_firings(), dropped=dropped, look_s=look_s)
        self.desk = JobDesk(
            self.store, self.clock, app=config.app.name, jobs=lambda: self.jobs, declared=declared_jobs(discovered)
        )
        for provides, value in ((WorkflowEngine, self.engine), (Engine, self.engine), (EventBus, self.events)):
            self.services.register_value(provides, value)

    # --- what it is made of ---

    def _outbox(self, look_s: float) -> Outbox:
        return Outbox(
            self.store,
            self.bus,
            app=self.config.app.name,
            owner=self._owner,
            clock=self.clock,
            look_s=look_s,
            is_leased=self._is_leased,
            may_take_over=self._may_take_over,
        )

    def _engine(self) -> WorkflowEngine:
        ports = Ports(
            self.store,
            self.clock,
            self.config.app.name,
            self._owner,
            self.config.daemon.max_payload_bytes,
            self.config.daemon.park_after_s,
            is_lapsed=lambda: self.recovery.is_lapsed,
        )
        engine = WorkflowEngine(
            ports, containers=self.services.handler_container, options=self.options, on_staged=self.outbox.poke
        )
        engine.register(self.discovered.workflows)
        return engine

    def _recovery(self) -> Recovery:
        name, owner = self.config.app.name, self._owner
        recovery = Recovery(self.engine, self.store, self.clock, app=name, owner=owner, claims=self._is_daemon)
        recovery.regained = self._confirm
        return recovery

    def _retention(self) -> Retention:
        keep = timedelta(seconds=self.config.storage.retention_s)
        return Retention(self.engine, self.store, self.clock, app=self.config.app.name, keep=keep)

    def _around_handlers(self) -> Surroundings:
        return Surroundings(
            self.config.app.name,
            self.store,
            self.clock,
            self.services.handler_container,
            self.outbox.poke,
            max_payload_bytes=self.config.daemon.max_payload_bytes,
            owner=self._owner,
            prefetch=self.config.broker.prefetch,
        )

    def _around_firings(self) -> FiringSurroundings:
        return FiringSurroundings(
            app=self.config.app.name,
            owner=self._owner,
            store=self.store,
            clock=self.clock,
            container=self.services.handler_container,
            options=self.options,
            on_staged=self.outbox.poke,
            is_leased=self._is_leased,
            may_take_over=self._may_take_over,
            max_payload_bytes=self.config.daemon.max_payload_bytes,
        )

    def _is_leased(self) -> bool:
        return not self.recovery.is_lapsed

    def _may_take_over(self) -> bool:
        return self.recovery.may_take_over

    async def _confirm(self) -> None:
        """Let go of what others have taken over while the lease was over."""
        await self.scheduler.confirm()
        await self.consumption.confirm()

    # --- its life ---

    def options(self, name: str) -> Mapping[str, Any]:
        """Return the table `[options.<name>]`."""
        return self.config.options.get(name, {})

    @property
    def queues(self) -> dict[str, tuple[str, ...]]:
        """What the application has queues for, with their patterns: all subscribers, and the events that it awaits."""
        declared = {each.id: each.patterns for each in self.discovered.subscribers}
        return declared | {name: each.subscriber.patterns for name, each in self.consumption.dispatchers.items()}

    async def start(self) -> None:
        """Open the store and begin to connect to the broker; does not wait for a broker that is away."""
        try:
            await self._start()
        except BaseException:
            await self.aclose()
            raise
        self._is_up = True

    async def _start(self) -> None:
        # What is wrong with a file when it is opened does not pass; a server may be down.
        opening = None if self.config.sqlite_path is not None else self._store_away
        await patiently(self.store.open, self.clock, away=opening)
        await self.patiently(self.recovery.announce)
        await self.bus.start()
        if self._is_daemon and self.config.broker.embedded:
            await self.patiently(self.consumption.declare)  # before anybody can publish
        elif self._is_daemon:
            self.bus.expect(list(self.consumption.dispatchers))  # the same, without waiting for a broker that is away
        await self.outbox.start()

    async def patiently(self, attempt: Callable[[], Awaitable[object]]) -> None:
        """Do something at the start that needs the store; a daemon waits for one that is away."""
        await patiently(attempt, self.clock, away=self._store_away)

    async def aclose(self) -> None:
        """Stop in reverse order of the start; runs that are going on stay resumable."""
        await self.engine.drain(0)
        await self.outbox.aclose()
        await self.bus.aclose()
        await self.services.aclose()
        with suppress(StoreUnavailableError):  # the lease ends by itself
            await self.recovery.retire()
        await self.store.aclose()

    async def reload(self, config: Config) -> None:
        """Take up what a new configuration says of subscribers, jobs and options; see `restart_keys` for the rest.

        Raises:
            ConfigurationError: Nothing was changed.
            StoreUnavailableError: Likewise.
        """
        jobs = jobs_of(self.discovered, config)
        wanted = self._subscribers(config)
        await self.scheduler.replace(jobs, dropped_jobs(self.discovered, config))
        self.jobs = jobs
        self.config = self.config.model_copy(
            update={
                "subscribers": config.subscribers,
                "jobs": config.jobs,
                "options": config.options,
                "log": config.log,
            }
        )
        self.consumption.want(wanted, self.options)
        await self.consumption.consume()

    def _subscribers(self, config: Config) -> list[Subscriber[Any]]:
        return subscribers_of(self.discovered, config) + awaited_events(self.engine)

    def is_away_for(self, path: str) -> bool:
        """Tell whether what a request for this path changes could not be stored at the moment; a broker has its own."""
        is_brokers = not self.config.broker.embedded and path.startswith(("/api/events", "/api/dead-letters"))
        return not self._is_up or (bool(self.store.trouble) and not is_brokers)

    async def checks(self) -> dict[str, bool]:
        """Return what readiness depends on, by name, and whether it is well."""
        found = {
            "running": not self.draining,
            "store": not self.store.trouble,
            "broker": self.bus.connected,
            "scheduler": self.scheduler.running,
        }
        found |= {f"subscriber:{name}": ready for name, ready in self.consumption.readiness.items()}
        pings = await self.services.pings()
        return found | {f"service:{name}": well for name, well in pings.items()}


@asynccontextmanager
async def opened(
    config: Config, discovered: Discovered | None = None, *, store: Store | None = None
) -> AsyncIterator[App]:
    """Open everything but consuming and firing: for commands, and for `open_container`.

    Runs that are started meanwhile execute here; what has not ended at the end is left to a daemon. `store` is used
    instead of the one that is configured.
    """
    app = App(config, discovered or Discovered(), is_daemon=False, store=store)
    await app.start()
    try:
        await app.recovery.start()
        yield app
    finally:
        await app.aclose()


async def runs_in_flight(config: Config, discovered: Discovered) -> InFlight:
    """Return which runs of the configured storage the application could not go on with. It only reads.

    Raises:
        StoreVersionError: The database is not of this sagad's version: it is left as it is.
        StoreUnavailableError: The database cannot be read.
    """
    path = config.sqlite_path
    if path is not None and not path.exists():
        return InFlight(0, [], is_new=True)
    store = store_of(config, lambda _: None, migrates=False)
    limit, park_after_s = config.daemon.max_payload_bytes, config.daemon.park_after_s
    try:
        await store.open()
    except StoreEmptyError:
        return InFlight(0, [], is_new=True)
    try:
        ports = Ports(store, SystemClock(), config.app.name, "", limit, park_after_s)
        return await in_flight(ports, discovered.workflows)
    finally:
        await store.aclose()
