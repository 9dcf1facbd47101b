"""The scheduler on APScheduler's timer, the machine's clock and a database file."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from daemon.clock import SystemClock, from_us
from daemon.container import Services
from daemon.schedule.claim import Surroundings
from daemon.schedule.job import Job, JobContext, job
from daemon.schedule.scheduler import Scheduler
from daemon.store.job_model import FiringRecord, FiringState
from daemon.store.sqlite import SqliteStore

APP = "shop"
SECOND = timedelta(seconds=1)
PATIENCE_S = 20


class Journal:
    """Notes the firings of a job, and tells when there are enough."""

    def __init__(self, enough: int) -> None:
        self.scheduled: list[datetime] = []
        self.late: list[timedelta] = []
        self._enough = enough
        self._reached = asyncio.Event()

    def note(self, ctx: JobContext) -> None:
        self.scheduled.append(ctx.scheduled_for)
        self.late.append(SystemClock().now() - ctx.scheduled_for)
        if len(self.scheduled) >= self._enough:
            self._reached.set()

    async def reached(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await self._reached.wait()


def every_second(journal: Journal, *, work: Callable[[JobContext], Any] | None = None) -> Job[Any]:
    @job("* * * * * *", name="tick", catch_up="all")
    async def tick(ctx: JobContext) -> None:
        journal.note(ctx)
        if work is not None:
            await work(ctx)

    return tick


@asynccontextmanager
async def scheduling(path: Path, *jobs: Job[Any], owner: str) -> AsyncIterator[tuple[Scheduler, SqliteStore]]:
    store = SqliteStore(path)
    await store.open()
    await store.register(APP, owner, lease_s=60)
    around = Surroundings(
        app=APP,
        owner=owner,
        store=store,
        clock=SystemClock(),
        container=Services().handler_container,
        options=lambda _: {},
        on_staged=lambda: None,
    )
    scheduler = Scheduler(jobs, around, look_s=0.2)
    await scheduler.start()
    try:
        yield scheduler, store
    finally:
        await scheduler.drain(5)
        await scheduler.aclose()
        await store.retire(owner)
        await store.aclose()


async def recorded(store: SqliteStore) -> list[FiringRecord]:
    return (await store.firings(APP, "tick", limit=100))[::-1]


def assert_every_second_once(scheduled: list[datetime]) -> None:
    assert all(moment.microsecond == 0 for moment in scheduled)
    assert sorted(scheduled) == [min(scheduled) + number * SECOND for number in range(len(scheduled))]


async def test_a_job_every_second_fires_on_whole_seconds_and_never_early(tmp_path: Path) -> None:
    journal = Journal(3)

    async with scheduling(tmp_path / "sagad.db", every_second(journal), owner="one") as (scheduler, store):
        await journal.reached()
        following = scheduler.next_firing("tick")
        await scheduler.drain(5)
        firings = await recorded(store)

    assert_every_second_once(journal.scheduled)
    assert min(journal.late) >= timedelta(0)
    assert [from_us(each.scheduled_us) for each in firings] == journal.scheduled
    assert {(each.state, each.owner, each.attempt) for each in firings} == {(FiringState.COMPLETED, "one", 1)}
    assert following == journal.scheduled[2] + SECOND


async def test_two_schedulers_on_one_file_fire_each_second_once(tmp_path: Path) -> None:
    journal = Journal(4)

    async with (
        scheduling(tmp_path / "sagad.db", every_second(journal), owner="one") as (_, store),
        scheduling(tmp_path / "sagad.db", every_second(journal), owner="two"),
    ):
        await journal.reached()
        firings = await recorded(store)

    assert_every_second_once(journal.scheduled)
    assert {from_us(each.scheduled_us) for each in firings} <= set(journal.scheduled)
    assert {each.attempt for each in firings} == {1}


async def test_a_firing_whose_process_went_away_is_run_again_by_its_peer(tmp_path: Path) -> None:
    begun, picked_up = Journal(1), Journal(1)

    async def hang(_: JobContext) -> None:
        await asyncio.Event().wait()

    async with scheduling(tmp_path / "sagad.db", owner="peer") as (peer, store):
        async with scheduling(tmp_path / "sagad.db", every_second(begun, work=hang), owner="gone") as (gone, _):
            await begun.reached()
            await gone.aclose()
        await peer.replace([every_second(picked_up)])
        await picked_up.reached()
        await peer.drain(5)
        first = (await recorded(store))[0]

    assert begun.scheduled[0] in picked_up.scheduled
    assert (first.state, first.owner, first.attempt) == (FiringState.COMPLETED, "peer", 2)
