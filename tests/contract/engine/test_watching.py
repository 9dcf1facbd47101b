"""What whoever watches all runs of a process is told, and when."""

import asyncio
import gc
from datetime import timedelta

import pytest

from daemon import Ref, Retry, RunEvent, RunStatus, StepState, WatcherBehindError, step, workflow
from daemon.clock import ManualClock
from daemon.store.port import Store
from daemon.store.writes import Write
from daemon.workflow.port import RunOptions
from tests.contract.engine.bench import Bench, abc, ended
from tests.contract.engine.listening import all_of, told, up_to
from tests.contract.engine.processes import CountingStore, Journal, Process


async def test_a_watcher_is_told_of_every_run_and_step_in_order(shop: Process, bench: Bench) -> None:
    flow = abc(bench, bench.undoable)
    watch = shop.engine.watch()

    await ended(shop, flow, "x", "r-1")
    bench.broken = {"c"}
    await ended(shop, flow, "x", "r-2")

    assert await up_to(watch, ("r-2", "reverted")) == [
        ("r-1", "running"),
        ("a", "completed"),
        ("b", "completed"),
        ("c", "completed"),
        ("r-1", "completed"),
        ("r-2", "running"),
        ("a", "completed"),
        ("b", "completed"),
        ("c", "failed"),
        ("r-2", "compensating"),
        ("b", "compensated"),
        ("a", "compensated"),
        ("r-2", "reverted"),
    ]


async def test_an_event_says_whose_it_is_which_attempt_and_when(
    shop: Process, clock: ManualClock, bench: Bench
) -> None:
    flow = abc(bench, bench.step)
    watch = shop.engine.watch()
    at = clock.now()

    await ended(shop, flow, "x", "r-1")
    clock.advance(timedelta(seconds=1))
    await shop.engine.rerun("r-1", from_step="c", wait=True)
    events = [await anext(watch) for _ in range(8)]

    assert events[0] == RunEvent("r-1", "abc", "", RunStatus.RUNNING, 1, at)
    assert events[1] == RunEvent("r-1", "abc", "a", StepState.COMPLETED, 1, at)
    assert [(told(event), event.attempt) for event in events[5:]] == [
        (("r-1", "running"), 2),
        (("c", "completed"), 1),
        (("r-1", "completed"), 2),
    ]
    assert events[1].to_json() == {
        "run_id": "r-1",
        "workflow": "abc",
        "step": "a",
        "state": "completed",
        "attempt": 1,
        "at": at.isoformat(),
    }
    assert events[0].to_json()["step"] is None


async def test_nothing_is_told_before_it_is_durable(store: Store, clock: ManualClock, bench: Bench) -> None:
    counting = CountingStore(store)
    shop = Process(counting, clock, "process-1")
    held, go_on = asyncio.Event(), asyncio.Event()

    async def hold(writes: tuple[Write, ...]) -> None:
        if len(counting.commits) == 1:
            held.set()
            await go_on.wait()

    counting.before_commit = hold
    watch = shop.engine.watch()
    running = asyncio.create_task(ended(shop, abc(bench, bench.step), "x", "r-1"))
    await held.wait()

    first = await anext(watch)
    second = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)

    assert told(first) == ("r-1", "running")
    assert bench.taken() == ["a x"]
    assert not second.done()
    go_on.set()
    assert told(await second) == ("a", "completed")
    await running


async def test_a_watcher_may_ask_for_one_workflow_and_hears_of_children(shop: Process, bench: Bench) -> None:
    flow, d = abc(bench, bench.step), bench.step("d")

    @workflow("parent")
    def parent(text: Ref[str]) -> Ref[str]:
        return d(flow.as_step(text))

    every, inner, none = shop.engine.watch(), shop.engine.watch(workflow="abc"), shop.engine.watch(workflow="other")

    await ended(shop, parent, "x", "r-1")
    await shop.engine.drain(0)

    assert await all_of(none) == []
    assert await all_of(inner) == [
        ("r-1:abc", "running"),
        ("a", "completed"),
        ("b", "completed"),
        ("c", "completed"),
        ("r-1:abc", "completed"),
    ]
    found = await all_of(every)
    assert found[:3] == [("r-1", "running"), ("abc", "running"), ("r-1:abc", "running")]
    assert found[-2:] == [("d", "completed"), ("r-1", "completed")]
    assert ("abc", "completed") in found


async def test_waits_retries_and_places_are_told(shop: Process, clock: ManualClock, bench: Bench) -> None:
    again = bench.step("a", retry=Retry(max_attempts=2, delay=timedelta(hours=1)))

    @workflow("retrying", max_concurrency=1)
    def retrying(text: Ref[str]) -> Ref[str]:
        return again(text)

    bench.broken = {"a"}
    watch = shop.engine.watch()
    await ended(shop, retrying, "x", "r-1")
    await shop.engine.execute(retrying, "y", RunOptions("r-2", wait=False))
    bench.broken = set()
    clock.advance(timedelta(hours=1))
    found = await up_to(watch, ("r-2", "completed"))

    assert found == [
        ("r-1", "waiting"),
        ("r-1", "running"),
        ("a", "waiting"),
        ("r-1", "waiting"),
        ("r-2", "waiting"),
        ("a", "completed"),
        ("r-1", "completed"),
        ("r-2", "running"),
        ("a", "completed"),
        ("r-2", "completed"),
    ]


async def test_a_rollback_that_goes_on_is_told(shop: Process, journal: Journal) -> None:
    troubles = [OSError("not yet")]
    broken = journal.failing()

    @step("stuck", compensation_retry=Retry.never())
    async def stuck() -> str:
        return ""

    @stuck.compensate
    async def undo(_: str) -> None:
        if troubles:
            raise troubles.pop()

    @workflow("sticking")
    def sticking() -> None:
        stuck()
        broken()

    await sticking(shop.container).run(run_id="s-1", raise_on_error=False)
    watch = shop.engine.watch()

    await shop.engine.retry("s-1", wait=True)

    assert await up_to(watch, ("s-1", "reverted")) == [
        ("s-1", "compensating"),
        ("stuck", "compensated"),
        ("s-1", "reverted"),
    ]


async def test_a_watcher_that_does_not_keep_up_is_told_so(shop: Process, bench: Bench) -> None:
    a = bench.step("a", idempotent=True)

    @workflow("small")
    def small(text: Ref[str]) -> Ref[str]:
        return a(text)

    watch = shop.engine.watch()
    news = shop.engine._ports.news
    run = await ended(shop, small, "x", "r-1")
    for _ in range(10_000):
        news.tell_run(run.record, 0)

    with pytest.raises(WatcherBehindError, match=r"^More than 10,000 events have happened .* watch anew\.$"):
        await anext(watch)
    assert not news.is_watched


async def test_a_watch_that_is_closed_or_forgotten_hears_nothing_more(shop: Process, bench: Bench) -> None:
    closed, forgotten = shop.engine.watch(), shop.engine.watch()
    news = shop.engine._ports.news
    waits = asyncio.ensure_future(anext(closed))
    await asyncio.sleep(0)

    await closed.aclose()
    del forgotten
    gc.collect()

    with pytest.raises(StopAsyncIteration):
        await waits
    assert not news.is_watched
    await ended(shop, abc(bench, bench.step), "x", "r-1")
    assert await all_of(closed) == []


async def test_every_watch_ends_with_its_process(shop: Process, clock: ManualClock, bench: Bench) -> None:
    again = bench.step("a", retry=Retry(max_attempts=2, delay=timedelta(hours=1)))

    @workflow("retrying")
    def retrying(text: Ref[str]) -> Ref[str]:
        return again(text)

    bench.broken = {"a"}
    await ended(shop, retrying, "x", "r-1")
    every, one = shop.engine.watch(), shop.engine.watch(run_id="r-1")
    first = await anext(one)
    waiting = [asyncio.create_task(all_of(each)) for each in (every, one)]
    await asyncio.sleep(0)

    await shop.engine.drain(0)

    assert told(first) == ("r-1", "waiting")
    assert [await asyncio.wait_for(each, 5) for each in waiting] == [[], [("a", "waiting")]]
