"""What whoever watches one run is told, wherever that is driven."""

import asyncio
from datetime import timedelta

import pytest

from daemon import Ref, Retry, RunNotFound, step, workflow
from daemon.clock import ManualClock
from daemon.store.port import Store
from tests.contract.engine.bench import Bench, abc, ended, refusal
from tests.contract.engine.listening import all_of, up_to
from tests.contract.engine.mortal import living
from tests.contract.engine.processes import Journal, Process, until


async def test_the_watch_of_a_run_begins_with_how_it_stands_and_ends_with_it(shop: Process, journal: Journal) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()
    first = journal.step("first")

    @step("hold")
    async def hold() -> None:
        entered.set()
        await go_on.wait()

    @workflow("holding")
    def holding() -> None:
        first()
        hold()

    @workflow("beside")
    def beside() -> None:
        first()

    running = asyncio.create_task(holding(shop.container).run(run_id="h-1"))
    await entered.wait()
    watch = shop.engine.watch(run_id="h-1")
    before = await up_to(watch, ("first", "completed"))
    await beside(shop.container).run(run_id="b-1")
    go_on.set()
    await running
    after = await all_of(watch)
    late = await all_of(shop.engine.watch(run_id="h-1"))

    assert before == [("h-1", "running"), ("first", "completed")]
    assert after == [("hold", "completed"), ("h-1", "completed")]
    assert late == [("first", "completed"), ("hold", "completed"), ("h-1", "completed")]


async def test_a_run_that_another_process_drives_is_watched_by_looking(
    store: Store, clock: ManualClock, bench: Bench
) -> None:
    worker, other = [await living(store, clock, name) for name in ("worker", "other")]
    again = bench.step("a", retry=Retry(max_attempts=2, delay=timedelta(hours=1)))

    @workflow("retrying")
    def retrying(text: Ref[str]) -> Ref[str]:
        return again(text)

    bench.broken = {"a"}
    await ended(worker, retrying, "x", "r-1")
    watch = other.engine.watch(run_id="r-1")
    first = await up_to(watch, ("a", "waiting"))
    rest = asyncio.create_task(all_of(watch))
    for _ in range(3):
        await until(lambda: clock.next_due_s() == 0.25, what="it looks again")
        clock.advance(timedelta(seconds=0.25))
    quiet = not rest.done()
    bench.broken = set()
    clock.advance(timedelta(hours=1))
    await until(lambda: not worker.engine.running)
    while not rest.done():
        clock.advance(timedelta(seconds=0.25))
        await asyncio.sleep(0.001)

    assert first == [("r-1", "waiting"), ("a", "waiting")]
    assert quiet
    assert await rest == [("a", "completed"), ("r-1", "completed")]


async def test_a_run_is_watched_across_its_processes(store: Store, clock: ManualClock, bench: Bench) -> None:
    old, new = [await living(store, clock, name) for name in ("old", "new")]
    again = bench.step("a", retry=Retry(max_attempts=2, delay=timedelta(hours=1)))

    @workflow("retrying")
    def retrying(text: Ref[str]) -> Ref[str]:
        return again(text)

    bench.broken = {"a"}
    watch = new.engine.watch(run_id="r-1")
    await ended(old, retrying, "x", "r-1")
    first = await up_to(watch, ("a", "waiting"))
    await old.die()
    bench.broken = set()
    await new.take_over(retrying)
    clock.advance(timedelta(hours=1))

    assert first == [("r-1", "waiting"), ("a", "waiting")]
    assert await up_to(watch, ("r-1", "completed")) == [("a", "completed"), ("r-1", "completed")]
    with pytest.raises(StopAsyncIteration):
        await anext(watch)


async def test_a_child_is_watched_by_its_own_id(shop: Process, bench: Bench) -> None:
    flow, d = abc(bench, bench.step), bench.step("d")

    @workflow("parent")
    def parent(text: Ref[str]) -> Ref[str]:
        return d(flow.as_step(text))

    await ended(shop, parent, "x", "r-1")
    found = await all_of(shop.engine.watch(run_id="r-1:abc"))
    above = await all_of(shop.engine.watch(run_id="r-1"))
    others = await all_of(shop.engine.watch(run_id="r-1", workflow="abc"))

    assert found == [("a", "completed"), ("b", "completed"), ("c", "completed"), ("r-1:abc", "completed")]
    assert above == [("abc", "completed"), ("d", "completed"), ("r-1", "completed")]
    assert others == []
    assert "is a step of run" in await refusal(shop, "r-1:abc")


async def test_a_run_that_is_not_there_cannot_be_watched(shop: Process) -> None:
    with pytest.raises(RunNotFound):
        await anext(shop.engine.watch(run_id="nobody"))
