"""Steps whose failure skips everything up to a later one."""

from typing import Any

import pytest

from daemon import (
    Event,
    PermanentFailure,
    Ref,
    RunStatus,
    SkipTo,
    SourceStep,
    StepState,
    emit,
    for_each,
    parallelize,
    step,
    transform,
    when,
    workflow,
)
from daemon.clock import ManualClock
from daemon.store.port import Store
from daemon.workflow.workflow import SourceWorkflow
from tests.contract.engine.crashing import check, survivals
from tests.contract.engine.processes import Journal, Process


class Skipped(Event, name="step.skipped"):
    number: int


def _skipping(journal: Journal, to: str, name: str = "skipping", *, fails: bool = True) -> SourceStep[str, Any]:
    """Return a step that fails, whereupon everything up to another one is skipped."""
    failure = PermanentFailure("no") if fails else None
    return journal.step(name, fails=failure, refuses_none=False, on_failure=SkipTo(to))


async def test_everything_up_to_the_named_step_is_skipped(shop: Process, journal: Journal) -> None:
    skipping, one, two, last = _skipping(journal, "last"), *(journal.step(name) for name in ("one", "two", "last"))

    @workflow("skipper")
    def skipper() -> object:
        first = skipping()
        results = [one(), transform(two(), str.upper)]
        emit(Skipped(number=1))
        with when(first, lambda _: True):
            journal.step("inside")()
        return [first, *results, last()]

    run = await skipper(shop.container).run(run_id="s-1")

    assert journal == ["skipping", "last"]
    assert run.result == [None, None, None, "last-output"]
    assert list(run.steps) == ["skipping", "last"]
    assert [(error.step, error.tolerated) for error in run.errors] == [("skipping", True)]
    assert await shop.store.outgoing("shop", limit=10) == []


async def test_nothing_is_skipped_if_the_step_succeeds(shop: Process, journal: Journal) -> None:
    skipping = _skipping(journal, "last", fails=False)

    @workflow("no-skip")
    def no_skip() -> None:
        skipping()
        journal.step("one")()
        journal.step("last")()

    run = await no_skip(shop.container).run()

    assert journal == ["skipping", "one", "last"]
    assert run.errors == []


async def test_a_step_in_a_branch_skips_what_is_left_of_it_and_around_it(shop: Process, journal: Journal) -> None:
    skipping = _skipping(journal, "last")

    @step("one")
    async def one() -> int:
        return 1

    @workflow("out-of-branches")
    def out_of_branches() -> None:
        value = one()
        with when(value, lambda v: v == 1):
            with when(value, lambda v: v == 1) as inner:
                skipping()
                journal.step("left-in-inner")()
            with inner.otherwise():
                journal.step("otherwise")()
            journal.step("left-in-outer")()
        journal.step("between")()
        journal.step("last")()
        journal.step("after")()

    await out_of_branches(shop.container).run()

    assert journal == ["skipping", "last", "after"]


async def test_a_step_may_skip_to_a_member_of_a_group_which_runs_whole(shop: Process, journal: Journal) -> None:
    skipping = _skipping(journal, "right")

    @workflow("to-a-group")
    def to_a_group() -> None:
        skipping()
        journal.step("between")()
        parallelize(journal.step("left")(), journal.step("right")())

    await to_a_group(shop.container).run()

    assert (journal[0], sorted(journal[1:])) == ("skipping", ["left", "right"])


async def test_a_member_of_a_group_skips_after_the_group_and_the_farthest_of_several_counts(
    shop: Process, journal: Journal
) -> None:
    near, far = _skipping(journal, "near-end", "near"), _skipping(journal, "far-end", "far")

    @workflow("out-of-a-group")
    def out_of_a_group() -> None:
        parallelize(near(), far(), journal.step("beside")())
        for name in ("between", "near-end", "still-between", "far-end", "after"):
            journal.step(name)()

    await out_of_a_group(shop.container).run()

    assert sorted(journal[:3]) == ["beside", "far", "near"]
    assert journal[3:] == ["far-end", "after"]


async def test_an_item_of_a_loop_skips_after_the_loop(shop: Process, journal: Journal) -> None:
    @step("odd-only", on_failure=SkipTo("last"))
    async def odd_only(number: int) -> int:
        journal.append(f"item {number}")
        if number % 2 == 0:
            raise ValueError(number)
        return number

    @workflow("out-of-a-loop")
    def out_of_a_loop(numbers: Ref[list[int]]) -> object:
        found = for_each(numbers, odd_only, concurrency=1)
        journal.step("between")()
        journal.step("last")()
        return found

    run = await out_of_a_loop(shop.container).run([1, 2, 3])

    assert journal == ["item 1", "item 2", "item 3", "last"]
    assert run.result == [1, None, 3]


async def test_a_child_is_skipped_and_skipped_to(shop: Process, journal: Journal) -> None:
    note, later = journal.step("note"), journal.step("later")

    @workflow("noting")
    def noting() -> Ref[str]:
        return note()

    @workflow("finishing")
    def finishing() -> Ref[str]:
        return later()

    @workflow("skipping-children")
    def skipping_children() -> object:
        _skipping(journal, "finishing")()
        return [noting.as_step(), finishing.as_step()]

    run = await skipping_children(shop.container).run(run_id="s-1")

    assert (journal, run.result) == (["skipping", "later"], [None, "later-output"])
    assert [each.run_id for each in (await shop.engine.list(trigger="run")).items] == ["s-1:finishing"]


async def test_what_was_skipped_is_not_undone_and_the_step_that_skipped_is(shop: Process, journal: Journal) -> None:
    @workflow("undone")
    def undone() -> None:
        journal.step("first")()
        _skipping(journal, "last")()
        journal.step("between")()
        journal.failing("last")()

    run = await undone(shop.container).run(run_id="u-1", raise_on_error=False)

    assert journal == ["first", "skipping", "last", "undo skipping", "undo first"]
    assert (run.status, run.compensated) == (RunStatus.REVERTED, ["skipping", "first"])
    assert "failed at 'last' after 1 attempt" in str(run.failure())
    assert run.steps["skipping"].state is StepState.COMPENSATED


def _all_kinds(journal: Journal, *, fails: bool) -> SourceWorkflow[None]:
    """Skip from a group within a branch, out of it, to a group, and from there to the end."""
    from_group, from_loop = _skipping(journal, "right", "from-group"), _skipping(journal, "last", "from-right")
    beside, right = journal.step("beside"), journal.step("right")
    first, between, more, inside = (journal.step(name) for name in ("first", "between", "more", "inside"))
    last = journal.failing("last") if fails else journal.step("last")

    @workflow("all-kinds")
    def all_kinds() -> None:
        value = first()
        with when(value, lambda text: text == "first-output"):
            parallelize(from_group(), beside())
            inside()
        between()
        parallelize(right(), from_loop())
        more()
        last()

    return all_kinds


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("fails", [False, True])
async def test_skipping_survives_a_crash_at_any_commit(
    store: Store, clock: ManualClock, *, fails: bool, committed: bool
) -> None:
    plan = ("first", frozenset({"from-group", "beside"}), frozenset({"right", "from-right"}), "last")
    undone = {"first", "from-group", "beside", "right", "from-right"} if fails else set()
    async for survival in survivals(
        store, clock, lambda journal: _all_kinds(journal, fails=fails), committed=committed
    ):
        status = RunStatus.REVERTED if fails else RunStatus.COMPLETED

        check(survival, plan, status=status, undone=undone)
        assert [error.step for error in survival.run.errors if error.tolerated] == ["from-group", "from-right"]
