"""How the daemon's services start, drain and stop."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from daemon.clock import ManualClock
from daemon.errors import ConfigurationError, Problem
from daemon.lifecycle import Lifecycle, State
from daemon.log import captured_log
from daemon.systemd import Notifier


class Part:
    """A service that writes down what is done with it."""

    def __init__(self, name: str, journal: list[str]) -> None:
        self.name = name
        self.journal = journal

    async def start(self) -> None:
        self.journal.append(f"start {self.name}")

    async def aclose(self) -> None:
        self.journal.append(f"close {self.name}")


class Worker(Part):
    """One with work in progress."""

    def __init__(self, name: str, journal: list[str]) -> None:
        super().__init__(name, journal)
        self.draining = asyncio.Event()
        self.done = asyncio.Event()

    async def quiesce(self) -> None:
        self.journal.append(f"quiesce {self.name}")

    async def drain(self) -> None:
        self.journal.append(f"drain {self.name}")
        self.draining.set()
        await self.done.wait()
        self.journal.append(f"drained {self.name}")


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@asynccontextmanager
async def running(lifecycle: Lifecycle) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(lifecycle.run())
    await settle()
    yield task
    await task


def made(journal: list[str], *names: str, clock: ManualClock | None = None) -> tuple[Lifecycle, list[Worker]]:
    lifecycle = Lifecycle(clock or ManualClock(), Notifier(), grace_s=30)
    workers = [Worker(name, journal) for name in names]
    for worker in workers:
        lifecycle.add(worker.name, worker)
    return lifecycle, workers


async def test_services_start_in_order_and_stop_in_reverse_once_their_work_has_ended() -> None:
    journal: list[str] = []
    lifecycle, (bus, http) = made(journal, "bus", "http")

    async with running(lifecycle):
        states = [lifecycle.state]
        lifecycle.stop("test")
        await settle()
        states.append(lifecycle.state)
        bus.done.set()
        http.done.set()

    assert journal == [
        "start bus",
        "start http",
        "quiesce http",
        "quiesce bus",
        "drain http",
        "drain bus",
        "drained bus",
        "drained http",
        "close http",
        "close bus",
    ]
    assert [*states, lifecycle.state] == [State.READY, State.STOPPING, State.STOPPED]


async def test_what_runs_after_the_grace_period_is_cut_short() -> None:
    journal: list[str] = []
    clock = ManualClock()
    lifecycle, _ = made(journal, "bus", clock=clock)

    with captured_log() as entries:
        async with running(lifecycle):
            lifecycle.stop("test")
            await settle()
            clock.advance(timedelta(seconds=29))
            await settle()
            before = list(journal)
            clock.advance(timedelta(seconds=1))

    assert before == ["start bus", "quiesce bus", "drain bus"]
    assert journal == [*before, "close bus"]
    assert "drain_cut_short" in [entry["event"] for entry in entries]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_and_a_second_one_stops_at_once(number: signal.Signals) -> None:
    journal: list[str] = []
    lifecycle, (bus,) = made(journal, "bus")

    async with running(lifecycle):
        os.kill(os.getpid(), number)
        await asyncio.wait_for(bus.draining.wait(), 5)
        assert "close bus" not in journal
        os.kill(os.getpid(), number)

    assert journal == ["start bus", "quiesce bus", "drain bus", "close bus"]


async def test_a_failing_start_stops_what_had_started_and_is_raised() -> None:
    class Broken(Part):
        async def start(self) -> None:
            raise OSError("port 8420 is taken")

    journal: list[str] = []
    lifecycle = Lifecycle(ManualClock(), Notifier(), grace_s=30)
    for part in (Part("store", journal), Broken("http", journal), Part("never", journal)):
        lifecycle.add(part.name, part)

    with pytest.raises(OSError, match="port 8420 is taken"):
        await lifecycle.run()

    assert journal == ["start store", "close store"]


async def test_a_signal_while_it_starts_ends_the_start() -> None:
    class Waiting(Part):
        async def start(self) -> None:
            await asyncio.Event().wait()

    journal: list[str] = []
    lifecycle = Lifecycle(ManualClock(), Notifier(), grace_s=30)
    for part in (Part("log", journal), Waiting("store", journal)):
        lifecycle.add(part.name, part)

    async with running(lifecycle):
        lifecycle.stop("SIGTERM")

    assert journal == ["start log", "close log"]


async def test_a_service_that_fails_or_hangs_while_it_stops_holds_up_no_other() -> None:
    class Failing(Worker):
        async def quiesce(self) -> None:
            raise ConnectionError("away")

        async def drain(self) -> None:
            raise ConnectionError("away")

        async def aclose(self) -> None:
            raise ConnectionError("away")

    class Hanging(Part):
        async def aclose(self) -> None:
            await asyncio.Event().wait()

    journal: list[str] = []
    clock = ManualClock()
    lifecycle = Lifecycle(clock, Notifier(), grace_s=30)
    for part in (Part("store", journal), Failing("bus", journal), Hanging("http", journal)):
        lifecycle.add(part.name, part)

    with captured_log() as entries:
        async with running(lifecycle):
            lifecycle.stop("test")
            await settle()
            clock.advance(timedelta(seconds=10))

    assert journal[-1] == "close store"
    failures = [(entry["event"], entry["service"]) for entry in entries if entry["level"] == "error"]
    assert failures == [
        ("service_not_quiet", "bus"),
        ("service_not_drained", "bus"),
        ("service_not_closed", "http"),
        ("service_not_closed", "bus"),
    ]


async def test_a_service_can_end_the_daemon_with_its_error() -> None:
    journal: list[str] = []
    lifecycle, (bus,) = made(journal, "bus")
    bus.done.set()

    task = asyncio.create_task(lifecycle.run())
    await settle()
    lifecycle.stop("the store is broken", ValueError("broken"))

    with pytest.raises(ValueError, match="broken"):
        await task
    assert journal[-1] == "close bus"


async def test_sighup_reloads_and_a_failing_reload_is_logged() -> None:
    files, reloaded = ["wrong", "right"], asyncio.Event()

    async def reload() -> None:
        reloaded.set()
        if files.pop(0) == "wrong":
            raise ValueError("wrong file")

    lifecycle = Lifecycle(ManualClock(), Notifier(), grace_s=30, reload=reload)

    with captured_log() as entries:
        async with running(lifecycle):
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGHUP)
                await asyncio.wait_for(reloaded.wait(), 5)
                reloaded.clear()
            lifecycle.stop("test")

    assert files == []
    assert [entry["reason"] for entry in entries if entry["event"] == "reload_failed"] == ["wrong file"]


async def test_a_mistake_in_the_configuration_is_logged_without_a_traceback_of_ours() -> None:
    reloaded = asyncio.Event()

    async def reload() -> None:
        reloaded.set()
        raise ConfigurationError([Problem("log.level", "must be 'info'.")])

    lifecycle = Lifecycle(ManualClock(), Notifier(), grace_s=30, reload=reload)

    with captured_log() as entries:
        async with running(lifecycle):
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.wait_for(reloaded.wait(), 5)
            lifecycle.stop("test")

    (failed,) = [entry for entry in entries if entry["event"] == "reload_failed"]
    assert (failed["level"], failed["reason"]) == ("error", "log.level: must be 'info'.")
    assert "traceback" not in failed


async def test_the_log_tells_of_start_and_stop() -> None:
    lifecycle, (bus,) = made([], "bus")
    bus.done.set()

    with captured_log() as entries:
        async with running(lifecycle):
            lifecycle.stop("SIGTERM")

    shown = [entry["event"] for entry in entries if entry["level"] == "info"]
    assert shown == ["daemon_started", "daemon_stopping", "daemon_stopped"]
