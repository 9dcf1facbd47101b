"""`Harness`: a whole application in memory, on a clock that a test moves."""

import asyncio
import json
from collections.abc import Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from operator import attrgetter
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

import svcs

from daemon.clock import ManualClock
from daemon.config import load_config
from daemon.container import Services
from daemon.declared import misnamed
from daemon.discovery import Discovered, discover
from daemon.errors import ConfigurationError
from daemon.events.model import DeadLetter, Envelope, Event
from daemon.log import captured_log
from daemon.testing.apart import imports_apart
from daemon.testing.memory import in_memory
from daemon.testing.rest import Rest
from daemon.work import Work
from daemon.workflow.run import WorkflowRun

_PAGE = 200
_ALL = 1_000_000
_CLOSED = "This harness is not open: what happens in its application happens inside `async with Harness(path) as app:`."

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Published:
    """An event that was published.

    Attributes:
        envelope: Its id, name, time, source, correlation and causation.
        data: Its payload, as plain data.
    """

    envelope: Envelope
    data: Any

    @property
    def id(self) -> str:
        """The event's id."""
        return self.envelope.id

    @property
    def name(self) -> str:
        """The event's name."""
        return self.envelope.name


class Harness:
    """The whole application of a folder, on a store and a broker in memory and a clock that only the test moves.

        async with Harness("path/to/app") as app:
            await app.publish(CustomerCreated(id="c1", name="Ada"))
            await app.settle()
            assert [run.status for run in app.runs(workflow="hello-world")] == ["completed"]

    Subscribers consume and jobs fire from the beginning of the block; there is no HTTP API. At its end, what is going
    on is cancelled. What the application imported and defined is forgotten then, so that one test process may open
    several applications, also under the same names; what was imported before stays, and is what the application uses.

    Args:
        path: The application's folder, or its config.toml. What that says of broker and storage does not count.
        clock: Where time begins; by default at midnight of 2026-01-01, UTC.
        services: Stand-ins for the application's services, by the type that is asked for.
        patience_s: How long settling may take of real time, in seconds.

    Attributes:
        container: A container of the application, to start workflows with, and to ask for services.
        clock: The time, which `advance` moves.
        log: What was logged since the beginning of the block, one dict for each line.
    """

    container: svcs.Container
    log: list[dict[str, Any]]

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        clock: ManualClock | None = None,
        services: Mapping[type[Any], object] | None = None,
        patience_s: float = 10.0,
    ) -> None:
        asked_for: Iterable[object] = services or ()
        for wanted in asked_for:
            if not isinstance(wanted, type):
                msg = f"services are stand-ins by the type that is asked for, {{Stock: stand_in}}, not by {wanted!r}."
                raise TypeError(msg)
        self.clock = clock or ManualClock()
        self._is_open = False
        self._path = Path(path)
        self._stand_ins = dict(services or {})
        self._rest = Rest(self.clock, patience_s)
        self._stack = AsyncExitStack()
        self._deleting: asyncio.Task[dict[str, int]] | None = None

    async def __aenter__(self) -> Self:
        if self._is_open:
            msg = "This harness is open already: make another one, Harness(path), for another application."
            raise RuntimeError(msg)
        async with AsyncExitStack() as stack:
            await self._open(stack)
            self._stack = stack.pop_all()
        self._is_open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_open = False
        await self._stack.aclose()

    async def _open(self, stack: AsyncExitStack) -> None:
        path = self._path.resolve()
        path = path / "config.toml" if path.is_dir() else path
        config = load_config(path)
        stack.enter_context(imports_apart(path.parent))
        self.log = stack.enter_context(captured_log())
        discovered = discover(path.parent)
        if problems := misnamed(discovered, config):
            raise ConfigurationError(problems)
        self._app, self._bus = in_memory(
            config, discovered, clock=self.clock, services=self._services(discovered), is_daemon=True
        )
        stack.push_async_callback(self._close)
        await self._app.start()
        await self._app.consumption.consume()
        await self._app.scheduler.start()
        self.container = await stack.enter_async_context(self._app.services.handler_container())

    async def _close(self) -> None:
        if self._deleting is not None:
            self._deleting.cancel()
            await asyncio.wait([self._deleting])
            self._deleting = None
        await self._rest.moving(Work(self._app).aclose())
        await self._rest.moving(self._app.aclose())

    def _services(self, discovered: Discovered) -> Services:
        services = Services(each for each in discovered.services if each.provides not in self._stand_ins)
        for provides, value in self._stand_ins.items():
            services.register_value(provides, value)
        return services

    # --- what a test does ---

    async def publish(self, event: Event, *, id: str | None = None) -> str:
        """Publish an event and return its id; it is handled once the test settles.

        Raises:
            DefinitionError: The event's class has no name.
            CodecError: It has no JSON form; names the field.
            PayloadTooLargeError: The payload is above `daemon.max_payload_bytes`.
        """
        self._check_open()
        return await self._app.events.publish(event, id=id)

    async def settle(self) -> None:
        """Return when nothing is running or due: what is left waits for its time, for an event, or for somebody.

        Raises:
            TimeoutError: It did not come to that within `patience_s` of real time.
        """
        self._check_open()
        await self._rest.settle()

    async def advance(self, delta: timedelta) -> None:
        """Move the time on, and settle whenever something is due on the way: retries, timeouts, timers, jobs.

        At its end what is old is deleted, as a daemon does it every minute: runs whose `retention` is over, for one.

        Raises:
            TypeError: `delta` is no `timedelta`.
            ValueError: It is below zero.
            TimeoutError: As `settle`, each time.
        """
        self._check_open()
        await self._rest.advance(delta)
        if self._deleting is None:
            self._deleting = asyncio.create_task(self._app.retention.apply(), name="retention")
            await self._rest.settle()
        if self._deleting.done():  # else it rests between two batches, and goes on as the time does
            deleting, self._deleting = self._deleting, None
            deleting.result()

    def _check_open(self) -> None:
        if not self._is_open:
            raise RuntimeError(_CLOSED)

    # --- what a test looks at ---

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            if name in {"container", "log", "_app", "_bus"}:
                raise RuntimeError(_CLOSED)
            msg = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(msg)

    def runs(self, *, workflow: str | None = None) -> list[WorkflowRun[Any]]:
        """Return the runs, in the order of their start; of one workflow, if it is named."""
        found: list[WorkflowRun[Any]] = []
        after: str | None = None
        while True:
            page = _at_once(self._app.engine.list(workflow=workflow, after=after, limit=_PAGE))
            found += page.items
            if (after := page.next) is None:
                return found[::-1]

    @property
    def published(self) -> list[Published]:
        """What was published, by the test as well as by the application, in this order."""
        return [Published(each.envelope, json.loads(each.body)) for each in self._bus.sent]

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """The dead letters of all subscribers, in the order in which they died."""
        found = [_at_once(self._bus.dead_letters(each, limit=_ALL)) for each in self._app.consumption.dispatchers]
        return sorted((letter for letters in found for letter in letters), key=attrgetter("dead_us"))


def _at_once(work: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns that has nothing to wait for, since the store is in memory."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        work.close()
    msg = "The store in memory had to wait."
    raise RuntimeError(msg)
