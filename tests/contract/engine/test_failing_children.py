"""What is undone when something in a child, or after it, fails, and what parent and child say of it."""

import asyncio
from typing import Any

import pytest

from daemon import (
    PermanentFailure,
    Ref,
    Retry,
    RunNotCompleted,
    RunStateError,
    RunStatus,
    StepState,
    WorkflowFailed,
    for_each,
    parallelize,
    step,
    transform,
    workflow,
)
from daemon.clock import ManualClock
from daemon.store.port import Store
from daemon.workflow.workflow import SourceWorkflow, Workflow
from tests.contract.engine.crashing import survivals
from tests.contract.engine.mortal import living
from tests.contract.engine.processes import Journal, Process, until


def _of(name: str, *steps: Any) -> SourceWorkflow[None]:
    """Return a workflow of these steps and workflows, one after the other."""

    @workflow(name)
    def sequence() -> None:
        for each in steps:
            each.as_step() if isinstance(each, SourceWorkflow) else each()

    return sequence


async def test_a_failure_in_a_child_undoes_it_and_then_what_came_before_it(shop: Process, journal: Journal) -> None:
    inner = _of("inner", journal.step("two"), journal.failing())
    middle = _of("middle", journal.step("one"), inner, journal.step("never"))
    outer = _of("outer", journal.step("first"), middle, journal.step("not-this-either"))

    with pytest.raises(WorkflowFailed) as failed:
        await outer(shop.container).run(run_id="o-1")
    run = failed.value.run
    children = [await shop.engine.get(run_id) for run_id in ("o-1:middle", "o-1:middle:inner")]

    assert journal == ["first", "one", "two", "break", "undo two", "undo one", "undo first"]
    assert [each.status for each in (run, *children)] == [RunStatus.REVERTED] * 3
    assert [each.compensated for each in (run, *children)] == [["middle", "first"], ["inner", "one"], ["two"]]
    assert [[(error.step, error.child) for error in each.errors] for each in (run, *children)] == [
        [("break", "o-1:middle:inner")],
        [("break", "o-1:middle:inner")],
        [("break", "")],
    ]
    assert [(name, each.state) for name, each in run.steps.items()] == [
        ("first", StepState.COMPENSATED),
        ("middle", StepState.COMPENSATED),
    ]
    assert isinstance(failed.value.__cause__, PermanentFailure)
    assert "failed at 'break' after 1 attempt: PermanentFailure: it broke; rolled back: middle, first." in str(
        failed.value
    )
    assert str((await shop.engine.get("o-1")).failure()) == str(failed.value)
    assert str(children[1].failure()).endswith("PermanentFailure: it broke; rolled back: two.")


async def test_a_child_that_has_completed_is_undone_as_a_unit(shop: Process, journal: Journal) -> None:
    child = _of("child", journal.step("one"), journal.step("two"))

    @workflow("unlucky")
    def unlucky() -> None:
        child.as_step()
        journal.step("between")()
        child.as_step(name="child-again")
        journal.failing()()

    run = await unlucky(shop.container).run(run_id="u-1", raise_on_error=False)
    children = [await shop.engine.get(run_id) for run_id in ("u-1:child", "u-1:child-again")]

    assert journal[:6] == ["one", "two", "between", "one", "two", "break"]
    assert journal[6:] == ["undo two", "undo one", "undo between", "undo two", "undo one"]
    assert run.compensated == ["child-again", "between", "child"]
    assert [(each.status, each.errors, each.compensated) for each in children] == [
        (RunStatus.REVERTED, [], ["two", "one"])
    ] * 2
    with pytest.raises(RunNotCompleted, match="reverted"):
        _ = children[0].result


async def test_a_child_in_which_nothing_was_to_be_undone_ends_reverted_and_is_not_listed(
    shop: Process, journal: Journal
) -> None:
    @step("look")
    async def look() -> int:
        return 1

    run = await _of("looking", _of("child", look), journal.failing())(shop.container).run(raise_on_error=False)

    assert (run.status, run.compensated) == (RunStatus.REVERTED, [])
    assert (await shop.engine.get(f"{run.run_id}:child")).status is RunStatus.REVERTED


async def test_children_of_a_group_are_undone_at_the_same_time(shop: Process, journal: Journal) -> None:
    all_three = asyncio.Barrier(3)

    def meeting(name: str) -> Any:
        @step(name)
        async def act() -> None: ...

        @act.compensate
        async def undo(_: None) -> None:
            await all_three.wait()
            journal.append(f"undo {name}")

        return act

    left, right = _of("left", meeting("one")), _of("right", meeting("two"), journal.step("later"))

    @workflow("side-by-side")
    def side_by_side() -> None:
        journal.step("first")()
        parallelize(left.as_step(), right.as_step(), meeting("three")())
        journal.failing()()

    run = await side_by_side(shop.container).run(raise_on_error=False)

    assert journal[:4] == ["first", "later", "break", "undo later"]
    assert sorted(journal[4:7]) == ["undo one", "undo three", "undo two"]
    assert journal[7:] == ["undo first"]
    assert set(run.compensated[:3]) == {"left", "right", "three"}


async def test_a_compensation_in_a_child_that_gave_up_is_taken_up_by_its_parents_retry(
    shop: Process, journal: Journal
) -> None:
    trouble = [OSError("no way")]

    @step("stuck", compensation_retry=Retry.never())
    async def stuck() -> str:
        return "output"

    @stuck.compensate
    async def unstick(_: str) -> None:
        journal.append("undo stuck")
        if trouble:
            raise trouble.pop()

    inner = _of("inner", journal.step("one"), stuck)
    middle = _of("middle", inner, journal.step("two"))
    outer = _of("outer", journal.step("first"), middle, _of("fine", journal.step("three")), journal.failing())

    run = await outer(shop.container).run(run_id="o-1", raise_on_error=False)
    ids = ("o-1:middle", "o-1:middle:inner", "o-1:fine")
    before, done = [await shop.engine.get(run_id) for run_id in ids], list(journal)
    again = await shop.engine.retry("o-1", wait=True)
    after = [await shop.engine.get(run_id) for run_id in ids]

    assert done[5:] == ["undo three", "undo two", "undo stuck", "undo one", "undo first"]
    assert str(run.failure()) == (
        "Workflow 'outer' (run 'o-1') failed at 'break' after 1 attempt: PermanentFailure: it broke; rolled back: "
        "fine, first; ROLLBACK INCOMPLETE: the compensation of stuck failed after 1 attempt: OSError: no way."
    )
    assert run.steps["middle"].state is StepState.COMPENSATION_FAILED
    assert [each.status for each in before] == [RunStatus.FAILED, RunStatus.FAILED, RunStatus.REVERTED]
    assert [(error.phase, error.child) for error in before[0].errors] == [("compensate", "o-1:middle:inner")]
    assert journal[len(done) :] == ["undo stuck"]
    assert [each.status for each in (again, *after)] == [RunStatus.REVERTED] * 4
    assert again.compensated == ["fine", "first", "middle"]
    assert [error.step for error in again.errors] == ["break"]
    assert [each.errors for each in after] == [[], [], []]
    assert after[1].compensated == ["one", "stuck"]


async def test_a_retry_has_nothing_to_go_on_with_if_a_child_only_left_what_may_have_run(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    entered = asyncio.Event()

    @step("charge")
    async def charge() -> str:
        entered.set()
        await asyncio.Event().wait()
        return "never"

    @charge.compensate
    async def refund(_: str) -> None:
        journal.append("refund")

    outer = _of("outer", _of("paying", charge))
    old, new = [await living(store, clock, name) for name in ("old", "new")]
    await outer(old.container).run(run_id="o-1", wait=False)
    await entered.wait()
    await new.engine.cancel("o-1")
    await old.die()
    await new.take_over(outer)
    await until(lambda: not new.engine.running)
    run, child = [await new.engine.get(run_id) for run_id in ("o-1", "o-1:paying")]

    assert (run.status, child.status) == (RunStatus.FAILED, RunStatus.FAILED)
    assert "ROLLBACK INCOMPLETE: charge may have run." in str(run.failure())
    assert journal == []
    with pytest.raises(RunStateError, match="none of its compensations gave up"):
        await new.engine.retry("o-1")


def _computing(fn: Any) -> Workflow[int, Any]:
    @workflow("computing")
    def computing(value: Ref[int]) -> Ref[Any]:
        return transform(value, fn, name="compute")

    return computing


def _divided(value: int) -> float:
    return 1 / value


@pytest.mark.parametrize(
    ("fn", "value", "told"),
    [
        (_divided, 0, ("compute", "p-1:computing", "division by zero")),
        (lambda _: object(), 0, ("computing", "p-1:computing", "the workflow's result cannot be stored")),
        (_divided, "no number", ("computing", "", "the input of workflow 'computing'")),
    ],
)
async def test_what_a_child_cannot_take_compute_or_give_fails_its_parent(
    shop: Process, journal: Journal, fn: Any, value: Any, told: tuple[str, str, str]
) -> None:
    @step("give")
    async def give() -> Any:
        return value

    computing = _computing(fn)

    @workflow("parent")
    def parent() -> None:
        journal.step("first")()
        computing.as_step(give())

    run = await parent(shop.container).run(run_id="p-1", raise_on_error=False)

    assert [(error.step, error.child) for error in run.errors] == [told[:2]]
    assert told[2] in str(run.failure())
    assert journal == ["first", "undo first"]
    assert run.status is RunStatus.REVERTED


def _given(flow: Workflow[Any, Any], value: Any) -> SourceWorkflow[None]:
    @workflow(f"{flow.name}-given")
    def given() -> None:
        flow.as_step(value)

    return given


@pytest.mark.parametrize("committed", [False, True])
async def test_a_failed_transform_in_a_child_is_told_once_whenever_the_process_dies(
    store: Store, clock: ManualClock, *, committed: bool
) -> None:
    def make(journal: Journal) -> SourceWorkflow[None]:
        tried: list[int] = []

        def compute(value: int) -> float:
            tried.append(value)
            return value / 0

        @step("wait")
        async def wait(turns: int) -> None:
            await until(lambda: tried)
            for _ in range(turns):
                await asyncio.sleep(0)

        @step("pause")
        async def pause() -> int:
            await asyncio.sleep(0)
            return 1

        @workflow("computing-late")
        def computing() -> Ref[float]:
            return transform(pause(), compute, name="compute")

        @workflow("group")
        def group(turns: Ref[list[int]]) -> None:
            parallelize(for_each(turns, wait), computing.as_step())

        return _given(group, [1, 50])

    async for survival in survivals(store, clock, make, committed=committed):
        run = survival.run

        assert run.status is RunStatus.REVERTED
        assert [error.step for error in run.errors] == ["compute"]
        assert all(row.status is RunStatus.REVERTED for row in survival.rows)
