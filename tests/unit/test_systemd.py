"""What systemd is told, and when."""

import asyncio
import os
import secrets
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from daemon.clock import ManualClock
from daemon.lifecycle import Lifecycle
from daemon.log import captured_log
from daemon.systemd import Notifier
from daemon.watchdog import LoopMonitor


class Listener:
    """The other end of the notify socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(0)

    def heard(self) -> list[str]:
        messages = []
        while True:
            try:
                messages.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return messages

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    listener = Listener(str(tmp_path / "notify") if request.param == "path" else f"@sagad-{secrets.token_hex(8)}")
    yield listener
    listener.close()


def test_every_message_has_systemds_format(listener: Listener) -> None:
    notifier = Notifier(listener.address)

    notifier.ready("5 subscribers,\n3 jobs")
    notifier.status("2 in flight")
    notifier.reloading(1.5)
    notifier.extend_timeout(30)
    notifier.watchdog()
    notifier.stopping()

    assert listener.heard() == [
        "READY=1\nSTATUS=5 subscribers, 3 jobs",
        "STATUS=2 in flight",
        "RELOADING=1\nMONOTONIC_USEC=1500000",
        "EXTEND_TIMEOUT_USEC=30000000",
        "WATCHDOG=1",
        "STOPPING=1",
    ]


def test_without_a_listener_nothing_happens(tmp_path: Path) -> None:
    notifiers = [Notifier(), Notifier(str(tmp_path / "nobody"))]

    for notifier in notifiers:
        notifier.ready()

    assert not list(tmp_path.iterdir())


def test_the_environment_is_read_once_and_not_left_to_children(listener: Listener) -> None:
    environ = {
        "NOTIFY_SOCKET": listener.address,
        "WATCHDOG_USEC": "30000000",
        "WATCHDOG_PID": str(os.getpid()),
        "PATH": "/bin",
    }

    notifier = Notifier.from_environ(environ)
    notifier.ready()

    assert environ == {"PATH": "/bin"}
    assert notifier.watchdog_s == 30
    assert listener.heard() == ["READY=1"]


@pytest.mark.parametrize("environ", [{"WATCHDOG_USEC": "3", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "x"}, {}])
def test_a_watchdog_that_is_not_ours_is_not_fed(environ: dict[str, str]) -> None:
    notifier = Notifier.from_environ(environ)

    assert notifier.watchdog_s is None


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_whole_life_is_told_to_systemd(listener: Listener) -> None:
    async def reload() -> None:
        pass

    class Part:
        async def start(self) -> None:
            lifecycle.set_status("1 subscriber")

        async def aclose(self) -> None:
            pass

        async def quiesce(self) -> None:
            pass

        async def drain(self) -> None:
            await clock.sleep(12)

    clock = ManualClock()
    lifecycle = Lifecycle(clock, Notifier(listener.address), grace_s=30, reload=reload)
    lifecycle.add("part", Part())

    with captured_log():
        task = asyncio.create_task(lifecycle.run())
        await settle()
        lifecycle._reload_wanted.set()
        await settle()
        lifecycle.stop("SIGTERM")
        for _ in range(12):
            await settle()
            clock.advance(timedelta(seconds=1))
        await task

    assert listener.heard() == [
        "STATUS=1 subscriber",
        "READY=1\nSTATUS=1 subscriber",
        "RELOADING=1\nMONOTONIC_USEC=0",
        "READY=1\nSTATUS=1 subscriber",
        "STOPPING=1",
        "EXTEND_TIMEOUT_USEC=30000000",
        "EXTEND_TIMEOUT_USEC=30000000",
        "EXTEND_TIMEOUT_USEC=20000000",
    ]


async def test_a_reload_that_failed_is_shown_until_one_succeeds(listener: Listener) -> None:
    mistakes = [ValueError("wrong file"), None]

    async def reload() -> None:
        if mistake := mistakes.pop(0):
            raise mistake

    lifecycle = Lifecycle(ManualClock(), Notifier(listener.address), grace_s=30, reload=reload)

    with captured_log():
        task = asyncio.create_task(lifecycle.run())
        await settle()
        lifecycle.set_status("1 subscriber")
        lifecycle._reload_wanted.set()
        await settle()
        lifecycle.set_status("2 subscribers")
        lifecycle._reload_wanted.set()
        await settle()
        lifecycle.stop("SIGTERM")
        await task

    assert [line for each in listener.heard() for line in each.split("\n") if line.startswith("STATUS=")] == [
        "STATUS=1 subscriber",
        "STATUS=1 subscriber; RELOAD FAILED, see the log",
        "STATUS=2 subscribers; RELOAD FAILED, see the log",
        "STATUS=2 subscribers",
    ]


async def test_the_watchdog_is_fed_at_half_its_period_while_the_loop_turns(listener: Listener) -> None:
    clock = ManualClock()
    monitor = LoopMonitor(clock, Notifier(listener.address, watchdog_s=8))
    await monitor.start()

    signs = []
    for second in range(10):
        await settle()
        signs += [second] * len(listener.heard())
        clock.advance(timedelta(seconds=1))
    await monitor.aclose()

    assert signs == [0, 4, 8]
    assert monitor.is_well()


async def test_a_blocked_loop_or_a_failing_check_earns_no_sign_of_life(listener: Listener) -> None:
    """aio-pika#580, aio-pika#288, faststream#1636: what blocks the loop is told before the broker hangs up."""
    clock, healthy = ManualClock(), True
    monitor = LoopMonitor(clock, Notifier(listener.address, watchdog_s=8), checks=[lambda: healthy])
    await monitor.start()
    await settle()
    first = listener.heard()

    with captured_log() as entries:
        clock.advance(timedelta(seconds=6))
        await settle()
    blocked, well_when_blocked = listener.heard(), monitor.is_well()
    healthy = False
    clock.advance(timedelta(seconds=1))
    await settle()
    unhealthy = listener.heard()
    healthy = True
    clock.advance(timedelta(seconds=1))
    await settle()
    recovered = listener.heard()
    await monitor.aclose()

    assert [first, blocked, unhealthy, recovered] == [["WATCHDOG=1"], [], [], ["WATCHDOG=1"]]
    assert not well_when_blocked
    assert [(entry["event"], entry["duration_ms"]) for entry in entries] == [("event_loop_blocked", 5000.0)]
