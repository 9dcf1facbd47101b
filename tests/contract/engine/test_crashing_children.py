"""A process that dies at any commit of a run with children, and what another one makes of it."""

from typing import Any

import pytest

from daemon import Ref, RunStatus, StepState, parallelize, transform, workflow
from daemon.clock import ManualClock
from daemon.store.port import Store
from daemon.workflow.workflow import SourceWorkflow
from tests.contract.engine.crashing import Plan, check, names_in, survivals
from tests.contract.engine.processes import Journal

SEQUENCE = ("first", "one", "two", "deep", "third", "fourth", "last")
GROUP = ("first", frozenset({("one", "two"), ("three", "four", "deep"), "beside"}), "last")


def _child(journal: Journal, name: str, *steps: Any) -> SourceWorkflow[str]:
    """Return a workflow of some steps (or workflows), whose result is the last one's."""
    made = [journal.step(each, refuses_none=False) if isinstance(each, str) else each for each in steps]

    @workflow(name)
    def child() -> Ref[str]:
        results = [each.as_step() if isinstance(each, SourceWorkflow) else each() for each in made]
        return transform(results[-1], lambda text: text)

    return child


def _in_sequence(journal: Journal, *, fails: bool) -> SourceWorkflow[Any]:
    grandchild = _child(journal, "grandchild", "deep")
    left = _child(journal, "left", "one", "two", grandchild)
    right = _child(journal, "right", "fourth")
    first, third = journal.step("first"), journal.step("third")
    last = journal.failing("last") if fails else journal.step("last")

    @workflow("in-sequence")
    def in_sequence() -> Ref[str]:
        first()
        result = left.as_step()
        third()
        right.as_step()
        last()
        return result

    return in_sequence


def _in_a_group(journal: Journal, *, fails: bool) -> SourceWorkflow[Any]:
    left = _child(journal, "left", "one", "two")
    right = _child(journal, "right", "three", "four", _child(journal, "grandchild", "deep"))
    first, beside = journal.step("first"), journal.step("beside")
    last = journal.failing("last") if fails else journal.step("last")

    @workflow("in-a-group")
    def in_a_group() -> Ref[str]:
        first()
        _, result, _ = parallelize(left.as_step(), right.as_step(), beside())
        last()
        return result

    return in_a_group


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize(("make", "plan"), [(_in_sequence, SEQUENCE), (_in_a_group, GROUP)])
async def test_a_run_with_children_survives_a_crash_at_any_commit(
    store: Store, clock: ManualClock, make: Any, plan: Plan, *, committed: bool
) -> None:
    async for survival in survivals(store, clock, lambda journal: make(journal, fails=False), committed=committed):
        run = survival.run

        check(survival, plan, status=RunStatus.COMPLETED)
        assert run.result == "deep-output"
        assert len(survival.rows) == 3
        assert {row.status for row in survival.rows} == {RunStatus.COMPLETED}


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize(
    ("make", "plan", "compensated"),
    [(_in_sequence, SEQUENCE, ["right", "third", "left", "first"]), (_in_a_group, GROUP, {"left", "right", "beside"})],
)
async def test_the_rollback_of_a_run_with_children_survives_a_crash_at_any_commit(
    store: Store, clock: ManualClock, make: Any, plan: Plan, compensated: Any, *, committed: bool
) -> None:
    async for survival in survivals(store, clock, lambda journal: make(journal, fails=True), committed=committed):
        run = survival.run

        check(survival, plan, status=RunStatus.REVERTED, undone=names_in(plan) - {"last"})
        assert [(error.step, error.child) for error in run.errors] == [("last", "")]
        assert len(survival.rows) == 3
        assert {row.status for row in survival.rows} == {RunStatus.REVERTED}
        if isinstance(compensated, list):
            assert run.compensated == compensated
        else:
            assert (set(run.compensated[:-1]), run.compensated[-1]) == (compensated, "first")


def _failing_inside(journal: Journal) -> SourceWorkflow[Any]:
    """A child fails after its own child had completed, beside another child, after a third one."""
    done = _child(journal, "done", "zero")
    grandchild = _child(journal, "grandchild", "deep")
    failing = _child(journal, "failing", "one", grandchild, journal.failing())
    beside = _child(journal, "beside", "two", "three")
    first, never = journal.step("first"), journal.step("never")

    @workflow("failing-inside")
    def failing_inside() -> None:
        first()
        done.as_step()
        parallelize(failing.as_step(), beside.as_step())
        never()

    return failing_inside


@pytest.mark.parametrize("committed", [False, True])
async def test_a_failure_inside_a_child_survives_a_crash_at_any_commit(
    store: Store, clock: ManualClock, *, committed: bool
) -> None:
    async for survival in survivals(store, clock, _failing_inside, committed=committed):
        run, rows = survival.run, {row.workflow: row.status for row in survival.rows}

        tail = tuple(name for name in ("two", "three") if name in survival.effects)
        plan = ("first", "zero", frozenset({("one", "deep", "break"), tail}))
        undone = {"first", "zero", "one", "deep", *tail}
        beside = {"beside"} if {"undo two", "undo three"} & set(survival.effects) else set()
        check(survival, plan, status=RunStatus.REVERTED, undone=undone, doubted={"two", "three"})
        assert [(error.step, error.child) for error in run.errors] == [("break", f"{run.run_id}:failing")]
        assert set(rows.values()) == {RunStatus.REVERTED}
        assert set(run.compensated) == {"failing", "done", "first", *beside}
        assert run.steps["failing"].state is StepState.COMPENSATED


@pytest.mark.parametrize("committed", [False, True])
async def test_a_run_with_a_child_survives_two_crashes_at_any_commits(
    store: Store, clock: ManualClock, *, committed: bool
) -> None:
    def make(journal: Journal) -> SourceWorkflow[None]:
        child, beside = _child(journal, "child", "one", "two"), journal.step("beside", refuses_none=False)
        first, broken = journal.step("first"), journal.failing()

        @workflow("twice")
        def twice() -> None:
            first()
            parallelize(child.as_step(), beside())
            broken()

        return twice

    plan: Plan = ("first", frozenset({("one", "two"), "beside"}), "break")
    async for survival in survivals(store, clock, make, committed=committed, twice=True):
        check(survival, plan, status=RunStatus.REVERTED, undone={"first", "one", "two", "beside"})
        assert [row.status for row in survival.rows] == [RunStatus.REVERTED]
