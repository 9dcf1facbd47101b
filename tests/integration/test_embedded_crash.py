"""The embedded bus between real processes: kill -9, another process's publish, and an idle one."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from daemon.clock import SystemClock
from daemon.events.bus import Subscription
from daemon.events.embedded import EmbeddedBus
from daemon.events.model import message_of
from daemon.store.sqlite import SqliteStore

WITHIN_S = 20.0


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[EmbeddedBus]:
    """A bus that only publishes, in this process."""
    store = SqliteStore(tmp_path / "shop.db")
    await store.open()
    await store.register("shop", "publisher", lease_s=60)
    opened = EmbeddedBus(store, app="shop", owner="publisher", clock=SystemClock())
    await opened.start()
    await opened.declare([Subscription("keep-ledger", ("order.placed",), prefetch=20)])
    yield opened
    await opened.aclose()
    await store.aclose()


@contextmanager
def consumer(folder: Path, pause_s: float = 0.0) -> Iterator[subprocess.Popen[str]]:
    """Run the consumer of `bus_process` in a process of its own, inside the block."""
    program = [sys.executable, "-m", "tests.integration.bus_process"]
    command = [*program, str(folder / "shop.db"), str(ledger_of(folder)), str(pause_s)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.communicate(timeout=WITHIN_S)
    finally:
        process.kill()
        process.wait()


def ledger_of(folder: Path) -> Path:
    return folder / "ledger.txt"


def handled(folder: Path) -> list[str]:
    ledger = ledger_of(folder)
    return ledger.read_text().splitlines() if ledger.exists() else []


async def place(bus: EmbeddedBus, *ids: str) -> None:
    now_us = SystemClock().now_us()
    for id in ids:
        body = json.dumps({"id": id}).encode()
        assert await bus.send(message_of("order.placed", body, source="till", now_us=now_us, id=id))


async def until(probe: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while True:
            if probe():
                return
            await asyncio.sleep(0.001)


async def test_every_accepted_event_is_handled_although_its_daemon_was_killed(bus: EmbeddedBus, tmp_path: Path) -> None:
    ids = [f"o{at:03}" for at in range(100)]
    await place(bus, *ids)
    with consumer(tmp_path, pause_s=0.02) as process:
        await until(lambda: len(handled(tmp_path)) >= 30)
        process.kill()
        before = len(handled(tmp_path))

    with consumer(tmp_path):
        await until(lambda: set(handled(tmp_path)) == set(ids))

    assert 30 <= before < 100
    repeated = len(handled(tmp_path)) - len(ids)
    assert repeated <= 20  # what was in the dead daemon's hands
    (state,) = await bus.queues(["keep-ledger"])
    assert (state.ready, state.in_flight, state.dead) == (0, 0, 0)


async def test_an_event_that_kills_its_daemon_is_given_up_after_three_starts_and_takes_no_other_with_it(
    bus: EmbeddedBus, tmp_path: Path
) -> None:
    ids = [f"o{at}" for at in range(12)]
    await place(bus, *ids[:3], "poison", *ids[3:])
    deaths = 0

    while not await bus.dead_letters("keep-ledger", limit=10):
        with consumer(tmp_path, pause_s=0.05) as process:
            await until(lambda: process.poll() is not None or set(handled(tmp_path)) == set(ids))
            deaths += process.poll() is not None
        assert deaths <= 3

    with consumer(tmp_path):
        await until(lambda: set(handled(tmp_path)) == set(ids))
    (letter,) = await bus.dead_letters("keep-ledger", limit=10)
    assert (letter.event_id, letter.reason, deaths) == ("poison", "crashed", 3)


async def test_an_idle_daemon_handles_what_another_process_publishes_within_100_ms(
    bus: EmbeddedBus, tmp_path: Path
) -> None:
    waits_s = []
    with consumer(tmp_path):
        for at in range(10):
            began_s = time.monotonic()
            await place(bus, f"o{at}")
            await until(lambda wanted=at + 1: len(handled(tmp_path)) == wanted)  # type: ignore[misc]
            waits_s.append(time.monotonic() - began_s)

    assert sorted(waits_s)[len(waits_s) // 2] < 0.1, waits_s


async def test_an_idle_daemon_uses_less_than_a_hundredth_of_a_core(bus: EmbeddedBus, tmp_path: Path) -> None:
    with consumer(tmp_path) as process:
        await place(bus, "o1")
        await until(lambda: handled(tmp_path) == ["o1"])
        watched = psutil.Process(process.pid)
        watched.cpu_percent()

        percent = await asyncio.to_thread(watched.cpu_percent, 4.0)

    assert percent < 1.0
