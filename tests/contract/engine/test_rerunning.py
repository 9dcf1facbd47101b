"""Runs that have ended and are run once more."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from daemon import (
    CodecError,
    PayloadTooLargeError,
    Ref,
    RunNotFound,
    RunStateError,
    RunStatus,
    step,
    transform,
    workflow,
)
from daemon.clock import ManualClock
from daemon.errors import MisfitError
from daemon.store.port import Store
from daemon.workflow.codec import Json
from tests.contract.engine.bench import Bench, abc, ended, refusal
from tests.contract.engine.mortal import Mortal, living
from tests.contract.engine.processes import Journal, Process, until


class Order(BaseModel):
    sku: str
    at: datetime


ORDER = Order(sku="tea", at=datetime(2026, 1, 2, tzinfo=UTC))


async def test_a_run_is_run_again_from_the_beginning_and_the_former_attempt_is_kept(
    shop: Process, bench: Bench
) -> None:
    flow = abc(bench, bench.step)
    await ended(shop, flow, "x", "r-1")
    before = bench.taken()

    started = await shop.engine.rerun("r-1")
    run = await ended(shop, flow, "x", "r-1")

    assert (started.run_id, started.attempt) == ("r-1", 2)
    assert (run.attempt, run.result) == (2, "x-a-b-c")
    assert bench.taken() == before
    listed = (await shop.engine.list()).items
    assert [(each.attempt, each.result) for each in listed] == [(2, "x-a-b-c"), (1, "x-a-b-c")]


async def test_a_run_is_run_again_with_another_input_of_its_type(shop: Process, journal: Journal) -> None:
    @step("look")
    async def look(order: Order) -> str:
        return f"{order.sku} {order.at:%H}"

    @workflow("looking")
    def looking(order: Ref[Order]) -> Ref[str]:
        return look(order)

    await ended(shop, looking, ORDER, "r-1")

    model = await shop.engine.rerun("r-1", input=ORDER.model_copy(update={"sku": "cup"}), wait=True)
    sent = await shop.engine.rerun("r-1", input=Json(b'{"sku": "jug", "at": "2026-01-02T05:00:00Z"}'), wait=True)
    again = await shop.engine.rerun("r-1", wait=True)

    assert (model.result, sent.result, again.result) == ("cup 00", "jug 05", "jug 05")
    assert again.attempt == 4
    assert again.input.sku == "jug"
    with pytest.raises(MisfitError, match=r"the input of workflow 'looking' does not fit Order: at: "):
        await shop.engine.rerun("r-1", input=Json(b'{"sku": "jug"}'))
    with pytest.raises(CodecError):
        await shop.engine.rerun("r-1", input="jug")
    with pytest.raises(PayloadTooLargeError):
        await shop.engine.rerun("r-1", input=ORDER.model_copy(update={"sku": "x" * (1 << 20)}))


async def test_a_workflow_without_an_input_is_given_none(shop: Process, journal: Journal) -> None:
    first = journal.step("first")

    @workflow("plain")
    def plain() -> None:
        first()

    await plain(shop.container).run(run_id="r-1")

    with pytest.raises(MisfitError, match="Workflow 'plain' takes no input"):
        await shop.engine.rerun("r-1", input="x")
    run = await shop.engine.rerun("r-1", input=None, wait=True)

    assert run.status is RunStatus.COMPLETED


async def test_a_run_that_cannot_be_rerun_says_why(shop: Process, bench: Bench) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    @step("hold")
    async def hold(text: str) -> None:
        entered.set()
        await go_on.wait()

    @workflow("holding")
    def holding(text: Ref[str]) -> None:
        hold(text)

    running = asyncio.create_task(holding(shop.container).run("x", run_id="r-1"))
    await entered.wait()

    said = await refusal(shop, "r-1")
    go_on.set()
    await running
    guess = await refusal(shop, "r-1", from_step="hodl")

    assert said == "Run 'r-1' cannot be rerun: only a run that has ended can be, and attempt 1 of it is running."
    assert guess == (
        "Run 'r-1' cannot be rerun from 'hodl': workflow 'holding' has no such step. Did you mean 'hold'? There are: "
        "hold."
    )
    with pytest.raises(RunNotFound):
        await shop.engine.rerun("nobody")


async def test_a_changed_workflow_is_rerun_from_the_beginning_only(
    store: Store, clock: ManualClock, bench: Bench
) -> None:
    old, new = [await living(store, clock, name) for name in ("old", "new")]
    first, second = [_marking(bench, mark) for mark in (lambda text: text, lambda text: f"{text}!")]
    await ended(old, first, "x", "r-1")
    new.engine.register([second])
    bench.taken()

    said = await refusal(new, "r-1", from_step="a")
    run = await new.engine.rerun("r-1", wait=True)

    assert said == (
        "Run 'r-1' cannot be rerun from 'a': workflow 'marking' has changed since, and what is stored does not belong "
        "to it any more; rerun it from the beginning."
    )
    assert (run.result, run.record.graph_hash) == ("x!-a", second.graph.hash)
    assert bench.taken() == ["a x!"]


def _marking(bench: Bench, mark: Callable[[str], str]) -> Any:
    a = bench.step("a")

    @workflow("marking")
    def marking(text: Ref[str]) -> Ref[str]:
        return a(transform(text, mark))

    return marking


async def test_a_process_that_does_not_know_the_workflow_leaves_the_run_to_one_that_does(
    store: Store, clock: ManualClock, bench: Bench
) -> None:
    worker, command = [await living(store, clock, name) for name in ("worker", "command")]
    flow = abc(bench, bench.step)
    await ended(worker, flow, "x", "r-1")
    bench.taken()

    with pytest.raises(RunStateError, match="is not known here, so it can only be rerun from the beginning"):
        await command.engine.rerun("r-1", from_step="b")
    with pytest.raises(RunStateError, match=r"with another input: .* is not known here"):
        await command.engine.rerun("r-1", input="y")
    asked = await command.engine.rerun("r-1")
    claimed = await worker.take_over(flow)
    run = await ended(worker, flow, "x", "r-1")

    assert (asked.status, asked.attempt) == (RunStatus.WAITING, 2)
    assert [record.run_id for record in claimed] == ["r-1"]
    assert (run.attempt, run.result) == (2, "x-a-b-c")
    assert bench.taken() == ["a x", "b x-a", "c x-a-b"]


async def test_two_reruns_at_the_same_time_are_one(store: Store, clock: ManualClock, bench: Bench) -> None:
    one, two = [await living(store, clock, name) for name in ("one", "two")]
    flow = abc(bench, bench.step)
    await ended(one, flow, "x", "r-1")
    two.engine.register([flow])
    bench.taken()

    tasks = [asyncio.create_task(each.engine.rerun("r-1", from_step="c")) for each in (one, two)]
    await asyncio.wait(tasks)
    await until(lambda: not one.engine.running and not two.engine.running)

    kinds = sorted(type(task.exception() or task.result()).__name__ for task in tasks)
    assert kinds in (["RunStateError", "WorkflowRun"], ["WorkflowRun", "WorkflowRun"])  # at the same time, or after it
    assert len(bench.taken()) == kinds.count("WorkflowRun")


async def test_a_rerun_has_a_deadline_and_a_place_of_its_own(shop: Process, clock: ManualClock, bench: Bench) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    @step("hold")
    async def hold(text: str) -> str:
        entered.set()
        await go_on.wait()
        return text

    @workflow("placed", max_concurrency=1, timeout=timedelta(hours=1))
    def placed(text: Ref[str]) -> Ref[str]:
        return hold(text)

    go_on.set()
    await ended(shop, placed, "x", "r-1")
    clock.advance(timedelta(hours=2))
    go_on.clear()
    entered.clear()
    other = asyncio.create_task(placed(shop.container).run("y", run_id="other"))
    await entered.wait()
    queued = await shop.engine.rerun("r-1")
    go_on.set()
    run = await placed(shop.container).run("x", run_id="r-1")
    await other

    assert (queued.status, queued.waiting_for) == (RunStatus.WAITING, "a free place")
    assert run.status is RunStatus.COMPLETED
    assert run.record.deadline_us == run.record.created_us + 3_600_000_000


@pytest.mark.parametrize("committed", [False, True])
async def test_a_rerun_survives_a_crash_at_any_commit(
    store: Store, clock: ManualClock, bench: Bench, *, committed: bool
) -> None:
    heir = await living(store, clock, "heir")
    flow, d = abc(bench, bench.undoable), bench.step("d")

    @workflow("parent")
    def parent(text: Ref[str]) -> Ref[str]:
        return d(bench.step("e")(flow.as_step(text)))

    for at in range(1, 100):
        run_id = f"r-{at}"
        await ended(heir, parent, "x", run_id)
        bench.taken()
        mortal = Mortal(store, clock, at=at, committed=committed)
        mortal.process.engine.register([parent])
        died = await mortal.live(mortal.process.engine.rerun(run_id, from_step="e", input="z", wait=True))
        claimed = await heir.take_over(parent)
        run = await ended(heir, parent, "x", run_id)
        child = await heir.engine.get(f"{run_id}:abc")

        assert run.attempt == child.attempt == (2 if claimed or not died or at > 1 or committed else 1)
        assert run.result == ("z-e-d" if run.attempt == 2 else "x-a-b-c-e-d")
        assert (child.status, child.result) == (RunStatus.COMPLETED, "x-a-b-c")
        assert set(bench.taken()) == ({"e z", "d z-e"} if run.attempt == 2 else set())
        if not died:
            assert at == len(mortal.store.commits) + 1
            return
    pytest.fail("it never ran to its end")
