"""A job that is due every second, in a fleet whose daemons are killed: what fired, how often and how late."""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from daemon.clock import from_us, to_us
from daemon.store.job_model import FiringRecord, FiringState
from daemon.store.postgres import PostgresStore
from tests.acceptance.application import Application
from tests.acceptance.process import until
from tests.soak.fleet import GRACE_S, Fleet

APP, JOB = "firing", "tick"
_SECOND_US = 1_000_000
_DRAIN_S = 25.0
_WORK_S = 0.2
_TICK = """
import asyncio
import os
from datetime import UTC, datetime, timedelta

from daemon import JobContext, job


@job(timedelta(seconds=1), overlap="allow", catch_up="all")
async def tick(ctx: JobContext) -> None:
    line = f"{ctx.scheduled_for.isoformat()} {datetime.now(UTC).isoformat()} {ctx.attempt} {os.getpid()}\\n"
    ledger = os.open(ctx.options["ledger"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(ledger, line.encode())  # in one piece, whoever else writes
    os.close(ledger)
    await asyncio.sleep(ctx.options["work_s"])
"""


@dataclass(frozen=True)
class Start:
    """One start of the handler."""

    scheduled_for: datetime
    at: datetime
    attempt: int

    @property
    def late_s(self) -> float:
        """How much later it began than it was due, in seconds."""
        return (self.at - self.scheduled_for).total_seconds()


@dataclass(frozen=True)
class FiringReport:
    """What came of it.

    Attributes:
        seconds: How many seconds were due while the fleet was up.
        kills: How many daemons were killed meanwhile.
        starts: The handler's starts for each of those seconds, in order.
        violations: What must not be, a sentence each.
    """

    seconds: int
    kills: int
    starts: Mapping[datetime, Sequence[Start]]
    violations: Sequence[str]

    @property
    def late_s(self) -> list[float]:
        """How late each second was first begun, in seconds."""
        return [starts[0].late_s for starts in self.starts.values()]

    @property
    def repeated(self) -> int:
        """How many seconds were begun again, since their daemon died before the end was recorded."""
        return sum(len(starts) > 1 for starts in self.starts.values())


def fire(
    url: str, folder: Path, *, daemons: int, seconds: float, pause_s: tuple[float, float], seed: int
) -> FiringReport:
    """Have a job fire every second in so many daemons on one PostgreSQL; kill one after each pause, and start it again.

    By turns that is any of them, and the one whose handler has just begun.

    Args:
        url: Of the database.
        folder: An empty one.
        daemons: How many; two or more, so that one lives.
        seconds: How long, from when all of them are ready.
        pause_s: The shortest and the longest pause between two kills.
        seed: Says who is killed, and when.
    """
    ledger = folder / "ledger.txt"
    settings = {
        "app.name": APP,
        "storage.url": url,
        "daemon.shutdown_grace_s": GRACE_S,
        f"options.{JOB}.ledger": str(ledger),
        f"options.{JOB}.work_s": _WORK_S,
        "http.port": 0,
    }
    application = Application(folder / "app", settings, parts=())
    application.add("jobs/tick.py", _TICK)
    fleet, kills = Fleet(application, daemons), 0
    chance = random.Random(seed)  # noqa: S311 - the same one every time
    try:
        for number in fleet.numbers:
            fleet.start(number)
        first_us = (_now_us() // _SECOND_US + 1) * _SECOND_US
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            pause = chance.uniform(*pause_s)
            time.sleep(min(left_s, pause))
            if pause < left_s:
                number = _busy(fleet, ledger) if kills % 2 else chance.choice(fleet.numbers)
                fleet.kill(number)
                kills += 1
                fleet.start(number, wait=False)
        last_us = _now_us()
        records = asyncio.run(_ended(url, first_us, last_us))
        for number in fleet.numbers:
            fleet.terminate(number)
    finally:
        fleet.end()
    starts = _starts(ledger, first_us, last_us)
    wanted = [from_us(each) for each in range(first_us, last_us + 1, _SECOND_US)]
    return FiringReport(len(wanted), kills, starts, [*_violations(wanted, records, starts), *fleet.violations])


def _busy(fleet: Fleet, ledger: Path) -> int:
    """Return the daemon whose handler is the next to begin, as soon as it has."""
    before = ledger.stat().st_size
    until(lambda: ledger.stat().st_size > before, "the job fires")
    pid = int(ledger.read_text().split()[-1])
    return next(number for number in fleet.numbers if fleet.pid(number) == pid)


def _violations(
    wanted: Sequence[datetime], records: Sequence[FiringRecord], starts: Mapping[datetime, Sequence[Start]]
) -> list[str]:
    stored = {from_us(each.scheduled_us): each for each in records}
    found = []
    for second in wanted:
        record, begun = stored.get(second), [each.attempt for each in starts.get(second, ())]
        if record is None or record.state is not FiringState.COMPLETED:
            found.append(f"{second} is {record.state if record else 'not there'} {record.error if record else ''}")
        if not begun or len(set(begun)) < len(begun):
            found.append(f"{second} was begun as the attempts {begun}")
    found += [f"{each} was not due" for each in starts if each not in set(wanted)]
    return found


def _starts(ledger: Path, first_us: int, last_us: int) -> dict[datetime, list[Start]]:
    found: dict[datetime, list[Start]] = defaultdict(list)
    for line in ledger.read_text().splitlines():
        scheduled, at, attempt, _ = line.split()
        start = Start(datetime.fromisoformat(scheduled), datetime.fromisoformat(at), int(attempt))
        if first_us <= to_us(start.scheduled_for) <= last_us:
            found[start.scheduled_for].append(start)
    return dict(sorted(found.items()))


async def _ended(url: str, first_us: int, last_us: int) -> list[FiringRecord]:
    """Return the firings of a time, once all of them have ended or that takes too long."""
    store = PostgresStore(url, app=APP)
    await store.open()
    try:
        until_s = time.monotonic() + _DRAIN_S
        while True:
            count = (last_us - first_us) // _SECOND_US + 1
            found = [
                each
                for each in await store.firings(APP, JOB, limit=2 * count + 100)
                if first_us <= each.scheduled_us <= last_us
            ]
            if (len(found) >= count and all(each.ended_us for each in found)) or time.monotonic() > until_s:
                return found
            await asyncio.sleep(0.2)
    finally:
        await store.aclose()


def _now_us() -> int:
    return to_us(datetime.now(UTC))
