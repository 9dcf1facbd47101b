"""A scheduler on a clock that is moved by hand, a store in memory, and a job that writes down when it ran."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from daemon.clock import ManualClock, from_us, to_us
from daemon.container import Services
from daemon.errors import StoreUnavailableError
from daemon.log import captured_log
from daemon.schedule.claim import Surroundings
from daemon.schedule.job import Job, JobContext, job
from daemon.schedule.scheduler import Scheduler
from daemon.store.job_model import Claimed, Deployed, FiringClaim, FiringRecord, FiringState, JobDeclaration
from daemon.store.memory import MemoryStore
from daemon.store.writes import UpdateFiring

APP = "shop"
ME = "process-1"
GONE = "process-that-never-was"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
LOOK = 5 * SECOND
_FOREVER_S = 1e9
_TURNS = 40  # of the loop: more than anything here takes that does not wait for the clock


async def settle() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def at(moment: datetime) -> str:
    return f"{moment:%H:%M:%S}"


class TroubledStore(MemoryStore):
    """A store that can be told that it cannot write, or that it takes no claims of some jobs.

    Attributes:
        is_away: Whether claims fail, as over a lost connection.
        poison: A job that no claim may be of, as if the database refused its values.
    """

    trouble = ""
    is_away = False
    poison = ""

    async def claim_due(self, app: str, claims: Sequence[FiringClaim], *, now_us: int) -> list[Claimed]:
        if self.is_away:
            raise StoreUnavailableError("The connection was lost.")
        if any(each.record.job == self.poison for each in claims):
            raise ValueError("The database does not take this.")
        return await super().claim_due(app, claims, now_us=now_us)


class World:
    """What a test arranges and looks at.

    Attributes:
        ran: The scheduled times of the handler's starts, as `HH:MM:SS`, in order.
        log: What was logged.
        is_leased: Whether the leases of all processes go on.
        may_take_over: Whether they may take over what the dead left.
    """

    def __init__(self, log: list[dict[str, Any]]) -> None:
        self.clock = ManualClock(NOON)
        self.store = TroubledStore(self.clock)
        self.services = Services()
        self.ran: list[str] = []
        self.log = log
        self.staged = 0
        self.is_leased = self.may_take_over = True
        self.schedulers: list[Scheduler] = []

    def job(
        self,
        schedule: str | timedelta = MINUTE,
        *,
        takes: timedelta = timedelta(0),
        then: Callable[[JobContext], Awaitable[object]] | None = None,
        **options: Any,
    ) -> Job[Any]:
        async def sweep(ctx: JobContext) -> None:
            self.ran.append(at(ctx.scheduled_for))
            if takes:
                await self.clock.sleep(takes.total_seconds())
            if then is not None:
                await then(ctx)

        return job(schedule, **options)(sweep)

    def scheduler(self, *jobs: Job[Any], owner: str = ME, look: timedelta = timedelta(days=365)) -> Scheduler:
        around = Surroundings(
            app=APP,
            owner=owner,
            store=self.store,
            clock=self.clock,
            container=self.services.handler_container,
            options=lambda name: {"job": name},
            on_staged=self.poke,
            is_leased=lambda: self.is_leased,
            may_take_over=lambda: self.may_take_over,
            chance=lambda: 0.0,
        )
        scheduler = Scheduler(jobs, around, look_s=look.total_seconds())
        self.schedulers.append(scheduler)
        return scheduler

    async def started(self, *jobs: Job[Any], **options: Any) -> Scheduler:
        scheduler = self.scheduler(*jobs, **options)
        await self.store.register(APP, options.get("owner", ME), lease_s=_FOREVER_S)
        await scheduler.start()
        await settle()
        return scheduler

    async def advance(self, delta: timedelta) -> None:
        """Move the clock from timer to timer, with everything done that is due in between."""
        left = delta
        await settle()
        while (due_s := self.clock.next_due_s()) is not None and timedelta(seconds=due_s) <= left:
            step = timedelta(seconds=due_s)
            left -= step
            self.clock.advance(step)
            await settle()
        self.clock.advance(left)

    async def fired(self, *moments: datetime, **changes: Any) -> None:
        """Have firings in the store, of a time before this process."""
        for moment in moments:
            values: dict[str, Any] = {"job": "sweep", "state": FiringState.COMPLETED, "owner": GONE, "attempt": 1}
            moment_us = to_us(moment)
            record = FiringRecord(app=APP, scheduled_us=moment_us, started_us=moment_us, **values | changes)
            await self.store.declare_jobs(Deployed(APP, GONE, "", moment_us, [JobDeclaration(record.job, "")]))
            counts = record.state not in (FiringState.SKIPPED, FiringState.MISSED)
            new = replace(record, state=FiringState.RUNNING if counts else FiringState.MISSED)
            await self.store.claim_due(APP, [FiringClaim(new, "", "allow")], now_us=moment_us)
            await self.store.commit(UpdateFiring(record))

    async def firings(self, name: str = "sweep") -> list[FiringRecord]:
        return (await self.store.firings(APP, name, limit=10_000))[::-1]

    async def states(self, name: str = "sweep") -> list[str]:
        """Return `HH:MM:SS state` of every firing, in order."""
        return [f"{at(from_us(each.scheduled_us))} {each.state}" for each in await self.firings(name)]

    def lines(self, event: str, *fields: str) -> list[tuple[Any, ...]]:
        return [tuple(line.get(field) for field in fields) for line in self.log if line["event"] == event]

    def poke(self) -> None:
        self.staged += 1


@asynccontextmanager
async def opened_world() -> AsyncIterator[World]:
    with captured_log() as log:
        world = World(log)
        yield world
        for scheduler in world.schedulers:
            await scheduler.aclose()


def minutes(numbers: Iterable[int]) -> list[datetime]:
    """Return so many minutes after noon."""
    return [NOON + number * MINUTE for number in numbers]
