"""`max_concurrency`: how many runs of a workflow go on at the same time, in the whole fleet."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from daemon import Ref, RunStatus, StepContext, Workflow, sleep, step, workflow
from daemon.clock import ManualClock
from daemon.store.port import Store
from daemon.workflow.run import WorkflowRun
from tests.contract.engine.mortal import living
from tests.contract.engine.outside import HOUR, ended, to_the_next_timer
from tests.contract.engine.processes import Process, until


class Room:
    """A workflow of whose runs only some may be inside at the same time, until they are let out."""

    def __init__(self, limit: int | None, **options: Any) -> None:
        self.entered: list[str] = []
        self.doors: dict[str, asyncio.Event] = {}
        self.most = 0

        @step("be-inside")
        async def be_inside(_: str, ctx: StepContext) -> str:
            self.entered.append(ctx.run_id)
            door = self.doors[ctx.run_id] = asyncio.Event()
            self.most = max(self.most, len(self.doors))
            try:
                await door.wait()
            finally:
                del self.doors[ctx.run_id]
            if ctx.run_id.startswith("bad"):
                raise OSError
            return ctx.run_id

        @be_inside.compensate
        async def undo(_: str | None, ctx: StepContext) -> None:
            self.entered.append(f"undo {ctx.run_id}")

        @workflow("room", max_concurrency=limit, **options)
        def room(value: Ref[str]) -> Ref[str]:
            return be_inside(value)

        self.flow: Workflow[str, str] = room

    async def start(self, process: Process, run_id: str) -> WorkflowRun[str]:
        """Start a run without waiting for it."""
        return await self.flow(process.container).run("", run_id=run_id, wait=False)

    async def inside(self, *run_ids: str) -> None:
        """Wait until exactly these runs are inside."""
        await until(lambda: set(self.doors) == set(run_ids), what=f"{run_ids} are inside")

    async def let_out(self, process: Process, run_id: str) -> WorkflowRun[str]:
        """Have a run end."""
        self.doors[run_id].set()
        return await ended(process, run_id)


async def test_no_more_runs_go_on_at_the_same_time_than_allowed(shop: Process) -> None:
    room = Room(2)

    ids = [f"r-{number}" for number in range(6)]
    for run_id in ids:
        await room.start(shop, run_id)
    for run_id in ids:
        await until(lambda: run_id in room.doors)  # noqa: B023 - it is called before the next one
        run = await room.let_out(shop, run_id)
        assert run.result == run_id

    assert (room.most, sorted(room.entered)) == (2, ids)


async def test_a_run_above_the_limit_waits_for_a_free_place(shop: Process) -> None:
    room = Room(1)

    await room.start(shop, "r-1")
    started = await room.start(shop, "r-2")
    stored = await shop.engine.get("r-2")
    waiting = asyncio.create_task(room.flow(shop.container).run("", run_id="r-2"))
    joining = asyncio.create_task(room.flow(shop.container).run("", run_id="r-2", wait=True))
    await room.inside("r-1")
    await shop.engine.heed()
    early = [waiting.done(), joining.done()]
    await room.let_out(shop, "r-1")
    await room.inside("r-2")
    room.doors["r-2"].set()
    runs = [await waiting, await joining]

    for run in (started, stored):
        assert (run.status, run.waiting_for, run.steps) == (RunStatus.WAITING, "a free place", {})
    assert (early, [run.result for run in runs]) == ([False, False], ["r-2", "r-2"])


async def test_the_limit_counts_the_whole_fleet(store: Store, clock: ManualClock) -> None:
    room = Room(2)
    left, right = [await living(store, clock, name) for name in ("left", "right")]

    for process, run_id in ((left, "r-1"), (right, "r-2"), (left, "r-3"), (right, "r-4")):
        await room.start(process, run_id)
    await room.inside("r-1", "r-2")
    await room.let_out(left, "r-1")
    await room.inside("r-2", "r-3")
    await room.let_out(left, "r-3")
    await right.engine.heed(everything=False)  # by a hint, or a beat
    await room.inside("r-2", "r-4")
    for run_id in ("r-2", "r-4"):
        await room.let_out(right, run_id)

    assert room.most == 2


async def test_runs_that_are_started_later_do_not_get_ahead(shop: Process) -> None:
    go_on, closing, closed = asyncio.Event(), asyncio.Event(), asyncio.Event()
    entered: list[str] = []

    class Door:
        """A service that takes its time to close."""

    async def door() -> AsyncIterator[Door]:
        yield Door()
        closing.set()
        await closed.wait()

    shop.registry.register_factory(Door, door)

    @step("enter")
    async def enter(_: str, ctx: StepContext) -> None:
        entered.append(ctx.run_id)
        await ctx.container.aget(Door)
        await go_on.wait()

    @workflow("orderly", max_concurrency=1)
    def orderly(value: Ref[str]) -> None:
        enter(value)

    flow = orderly(shop.container)
    for run_id in ("first", "second"):
        await flow.run("", run_id=run_id, wait=False)
    go_on.set()
    await closing.wait()  # the first has ended, and nobody was told yet
    await flow.run("", run_id="third", wait=False)
    await shop.engine.heed()
    closed.set()
    for run_id in ("first", "second", "third"):
        await flow.run("", run_id=run_id, wait=True)

    assert entered == ["first", "second", "third"]


@pytest.mark.parametrize("is_elsewhere", [False, True])
async def test_a_run_that_waits_for_a_place_is_cancelled_at_once(
    store: Store, clock: ManualClock, *, is_elsewhere: bool
) -> None:
    room = Room(1)
    shop, desk = [await living(store, clock, name) for name in ("shop", "desk")]

    for run_id in ("r-1", "r-2", "r-3"):
        await room.start(shop, run_id)
    await room.inside("r-1")
    await (desk if is_elsewhere else shop).engine.cancel("r-2")
    await shop.engine.heed(everything=False)
    cancelled = await ended(shop, "r-2")
    await room.let_out(shop, "r-1")
    await room.inside("r-3")
    await room.let_out(shop, "r-3")

    assert (cancelled.status, cancelled.steps, cancelled.errors) == (RunStatus.CANCELLED, {}, [])
    assert room.entered == ["r-1", "r-3"]


async def test_the_places_of_a_dead_process_are_its_runs_and_go_on_elsewhere(store: Store, clock: ManualClock) -> None:
    room = Room(1)
    old, other, heir = [await living(store, clock, name) for name in ("old", "other", "heir")]

    for process, run_id in ((old, "r-1"), (old, "r-2"), (other, "r-3")):
        await room.start(process, run_id)
    await room.inside("r-1")
    await old.die()
    await other.engine.heed()
    meanwhile = await other.engine.get("r-3")
    await heir.take_over(room.flow)
    await room.inside("r-1")
    await room.let_out(heir, "r-1")
    await room.inside("r-2")
    await room.let_out(heir, "r-2")
    await other.engine.heed()
    await room.inside("r-3")
    await room.let_out(other, "r-3")

    assert meanwhile.status is RunStatus.WAITING
    assert (room.most, room.entered) == (1, ["r-1", "r-1", "r-2", "r-3"])


async def test_a_run_that_is_parked_keeps_its_place(shop: Process, clock: ManualClock) -> None:
    @workflow("long", max_concurrency=1)
    def long() -> None:
        sleep(HOUR)

    await long(shop.container).run(run_id="l-1")
    await long(shop.container).run(run_id="l-2", wait=False)
    await shop.engine.heed()
    second = await shop.engine.get("l-2")
    await to_the_next_timer(clock)
    await long(shop.container).run(run_id="l-1", wait=True)
    parked = await long(shop.container).run(run_id="l-2")

    assert second.waiting_for == "a free place"
    assert (parked.status, parked.waiting_for) == (RunStatus.WAITING, "sleep-1 until 2026-01-01T02:00:00+00:00")


async def test_a_run_that_failed_frees_its_place(shop: Process) -> None:
    room = Room(1)

    for run_id in ("bad-1", "r-2"):
        await room.start(shop, run_id)
    await room.inside("bad-1")
    failed = await room.let_out(shop, "bad-1")
    await room.inside("r-2")
    again = await room.start(shop, "bad-1")
    await room.let_out(shop, "r-2")
    await room.inside("bad-1")
    await room.let_out(shop, "bad-1")

    assert (failed.status, again.status, again.attempt) == (RunStatus.REVERTED, RunStatus.WAITING, 2)


async def test_children_do_not_count(shop: Process) -> None:
    room = Room(1)

    @workflow("parent")
    def parent(value: Ref[str]) -> Ref[str]:
        return room.flow.as_step(value)

    for run_id in ("p-1", "p-2"):
        await parent(shop.container).run("", run_id=run_id, wait=False)
    await room.inside("p-1:room", "p-2:room")
    await room.start(shop, "r-1")
    await room.inside("p-1:room", "p-2:room", "r-1")
    for run_id in ("p-1:room", "p-2:room", "r-1"):
        room.doors[run_id].set()
    parents = [await parent(shop.container).run("", run_id=run_id, wait=True) for run_id in ("p-1", "p-2")]
    alone = await ended(shop, "r-1")

    assert [run.status for run in (*parents, alone)] == [RunStatus.COMPLETED] * 3
