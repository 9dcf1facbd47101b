"""The runs of children: their ids, whose they are, their attempts, and how they are joined."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from daemon import Ref, RunExists, RunStatus, StepContext, StepState, WorkflowFailed, parallelize, step, workflow
from daemon.clock import ManualClock
from daemon.workflow.workflow import SourceWorkflow, Workflow
from tests.contract.engine.processes import Journal, Process, until


def _told(journal: Journal, name: str = "tell") -> Workflow[Any, str]:
    """Return a workflow of one step, which notes what it is told of its run."""

    @step("told")
    async def told(_: int, ctx: StepContext) -> str:
        journal.append(f"{ctx.workflow} {ctx.run_id} {ctx.step} {ctx.idempotency_key} {ctx.options['of']}")
        return ctx.run_id

    @workflow(name)
    def tell(value: Ref[int]) -> Ref[str]:
        return told(value)

    return tell


async def test_a_child_has_a_run_of_its_own_that_says_whose_it_is(shop: Process, journal: Journal) -> None:
    tell = _told(journal)

    @workflow("asking")
    def asking(value: Ref[int]) -> Ref[str]:
        return tell.as_step(value, name="tell-me")

    run = await asking(shop.container).run(1, run_id="asking-1")
    child = await shop.engine.get("asking-1:tell-me")
    page = await shop.engine.list(trigger="run:asking")

    assert run.result == "asking-1:tell-me"
    assert journal == ["tell asking-1:tell-me told shop:asking-1:tell-me:1:told tell"]
    assert (child.workflow, child.status, child.result, child.input) == ("tell", RunStatus.COMPLETED, run.result, 1)
    assert (child.trigger.kind, child.trigger.name, child.trigger.id) == ("run", "asking", "asking-1")
    assert list(child.steps) == ["told"]
    assert [each.run_id for each in page.items] == ["asking-1:tell-me"]
    assert {each.run_id for each in (await shop.engine.list()).items} == {"asking-1", "asking-1:tell-me"}


async def test_children_nest(shop: Process, journal: Journal) -> None:
    inner = _told(journal, "inner")

    @workflow("middle")
    def middle(value: Ref[int]) -> Ref[str]:
        return inner.as_step(value)

    @workflow("outer")
    def outer(value: Ref[int]) -> object:
        return parallelize(middle.as_step(value), inner.as_step(value), middle.as_step(value, name="second"))

    run = await outer(shop.container).run(1, run_id="outer-1")
    inner_run = await shop.engine.get("outer-1:second:inner")

    assert run.result == ("outer-1:middle:inner", "outer-1:inner", "outer-1:second:inner")
    assert (inner_run.trigger.name, inner_run.trigger.id) == ("middle", "outer-1:second")
    assert len({line.split()[3] for line in journal}) == 3


async def test_an_id_that_would_be_too_long_is_hashed(shop: Process, journal: Journal) -> None:
    tell = _told(journal)

    @workflow("lengthy")
    def lengthy(value: Ref[int]) -> object:
        return [tell.as_step(value), tell.as_step(value, name="tell-again")]

    runs = [await lengthy(shop.container).run(1, run_id=letter * 199) for letter in ("a", "b")]
    ids = [run_id for run in runs for run_id in run.result]

    assert len(set(ids)) == 4
    assert all(len(run_id) == 200 for run_id in ids)
    assert ids[0].startswith("a" * 175 + ":")
    assert (await shop.engine.get(ids[3])).trigger.id == "b" * 199


async def test_a_parent_and_its_child_are_joined_while_they_are_going_on(shop: Process, clock: ManualClock) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    @step("linger")
    async def linger() -> int:
        entered.set()
        await go_on.wait()
        return 17

    @workflow("lingering")
    def lingering() -> Ref[int]:
        return linger()

    @workflow("hosting")
    def hosting() -> Ref[int]:
        return lingering.as_step()

    await hosting(shop.container).run(run_id="hosting-1", wait=False)
    await entered.wait()
    seen = [await shop.engine.get(run_id) for run_id in ("hosting-1", "hosting-1:lingering")]
    joined = [
        asyncio.create_task(hosting(shop.container).run(run_id="hosting-1")),
        asyncio.create_task(lingering(shop.container).run(run_id="hosting-1:lingering")),
    ]
    await until(lambda: clock.next_due_s() is not None, what="somebody looks for the child's end")
    go_on.set()
    parent_run = await joined[0]
    clock.advance(timedelta(seconds=1))
    child_run = await joined[1]

    assert [run.status for run in seen] == [RunStatus.RUNNING] * 2
    assert seen[0].steps["lingering"].state is StepState.RUNNING
    assert (parent_run.result, child_run.result) == (17, 17)


def _parent_of_notes(journal: Journal, *, fails: list[bool]) -> SourceWorkflow[Any]:
    @step("note")
    async def note(_: int, ctx: StepContext) -> None:
        journal.append(ctx.idempotency_key)

    @step("break")
    async def broken() -> None:
        if fails.pop():
            raise ValueError

    @workflow("noted")
    def noted(value: Ref[int]) -> None:
        note(value)

    @workflow("noting-parent")
    def noting_parent() -> None:
        noted.as_step(1)
        broken()

    return noting_parent


async def test_a_parent_that_is_run_again_runs_its_child_again_as_its_next_attempt(
    shop: Process, journal: Journal
) -> None:
    parent = _parent_of_notes(journal, fails=[False, True])

    first = await parent(shop.container).run(run_id="p-1", raise_on_error=False)
    old = await shop.engine.get("p-1:noted")
    second = await parent(shop.container).run(run_id="p-1")
    new = await shop.engine.get("p-1:noted")

    assert (first.status, second.status, second.attempt) == (RunStatus.REVERTED, RunStatus.COMPLETED, 2)
    assert [(run.attempt, run.status) for run in (old, new)] == [(1, RunStatus.REVERTED), (2, RunStatus.COMPLETED)]
    assert journal == ["shop:p-1:noted:1:note", "shop:p-1:noted:2:note"]


@pytest.mark.parametrize("attempt", [1, 2])
async def test_a_child_whose_run_id_is_taken_fails_its_parent_and_leaves_the_other_run_alone(
    shop: Process, journal: Journal, attempt: int
) -> None:
    tell, fails = _told(journal), [True]

    @step("break")
    async def broken() -> None:
        if attempt == 2 and fails:
            raise ValueError(fails.pop())

    @workflow("unlucky")
    def unlucky() -> None:
        broken()
        tell.as_step(1)

    await tell(shop.container).run(1, run_id="u-1:tell")
    for _ in range(1, attempt):
        await unlucky(shop.container).run(run_id="u-1", raise_on_error=False)
    with pytest.raises(WorkflowFailed, match="'u-1:tell' is taken") as failed:
        await unlucky(shop.container).run(run_id="u-1")
    run, other = failed.value.run, await shop.engine.get("u-1:tell")

    assert isinstance(failed.value.__cause__, RunExists)
    assert (run.status, run.attempt, run.steps["tell"].state) == (RunStatus.REVERTED, attempt, StepState.FAILED)
    assert len(journal) == 1
    assert (other.trigger.kind, other.attempt, other.status) == ("call", 1, RunStatus.COMPLETED)


async def test_children_of_one_name_in_two_parents_are_two_runs(shop: Process, journal: Journal) -> None:
    tell = _told(journal)

    @workflow("left-parent")
    def left() -> Ref[str]:
        return tell.as_step(1)

    @workflow("right-parent")
    def right() -> Ref[str]:
        return tell.as_step(2)

    runs = [await left(shop.container).run(run_id="l-1"), await right(shop.container).run(run_id="r-1")]
    page = await shop.engine.list(workflow="tell")

    assert [run.result for run in runs] == ["l-1:tell", "r-1:tell"]
    assert {run.run_id: run.input for run in page.items} == {"l-1:tell": 1, "r-1:tell": 2}
