"""Conditions: blocks that run or do not, as a predicate says once in a run."""

import random
from typing import Any

import pytest

from daemon import Ref, RunStatus, parallelize, step, transform, when, workflow
from daemon.clock import ManualClock
from daemon.store.port import Store
from daemon.store.writes import Write
from daemon.workflow.workflow import Workflow
from tests.contract.engine.mortal import Mortal, living
from tests.contract.engine.processes import Journal, Process, until


def _nested(journal: Journal, *, fails: bool = False) -> Workflow[int, Any]:
    large, huge, small = (journal.step(name) for name in ("large", "huge", "small"))
    last = journal.failing("last") if fails else journal.step("last")

    @workflow("nested")
    def nested(amount: Ref[int]) -> Any:
        with when(amount, lambda v: v > 10) as is_large:
            a = large()
            with when(amount, lambda v: v > 100) as is_huge:
                b = huge()
            both = transform(a, is_huge.output(b), lambda a, b: [a, b])
        with is_large.otherwise() as is_small:
            c = small()
        last()
        return {"large": is_large.output(both), "small": is_small.output(c)}

    return nested


@pytest.mark.parametrize(
    ("amount", "did", "result"),
    [
        (1, ["small", "last"], {"large": None, "small": "small-output"}),
        (11, ["large", "last"], {"large": ["large-output", None], "small": None}),
        (101, ["large", "huge", "last"], {"large": ["large-output", "huge-output"], "small": None}),
    ],
)
async def test_only_the_blocks_run_whose_conditions_hold(
    shop: Process, journal: Journal, amount: int, did: list[str], result: dict[str, Any]
) -> None:
    flow = _nested(journal)

    run = await flow(shop.container).run(amount)

    assert journal == did
    assert list(run.steps) == did
    assert run.result == result


@pytest.mark.parametrize(("amount", "undone"), [(1, ["small"]), (11, ["large"]), (101, ["huge", "large"])], ids=str)
async def test_a_rollback_undoes_what_ran_inside_last_first(
    shop: Process, journal: Journal, amount: int, undone: list[str]
) -> None:
    flow = _nested(journal, fails=True)

    run = await flow(shop.container).run(amount, raise_on_error=False)

    assert run.status is RunStatus.REVERTED
    assert run.compensated == undone


async def test_a_group_may_stand_inside_a_block(shop: Process, journal: Journal) -> None:
    left, right = journal.step("left"), journal.step("right")

    @workflow("grouped")
    def grouped(wanted: Ref[bool]) -> Any:
        with when(wanted, bool) as taken:
            a, b = parallelize(left(), right())
        return [taken.output(a), taken.output(b)]

    run = await grouped(shop.container).run(True)  # noqa: FBT003 - the input
    other = await grouped(shop.container).run(False)  # noqa: FBT003 - the input

    assert run.result == ["left-output", "right-output"]
    assert other.result == [None, None]
    assert sorted(journal) == ["left", "right"]


async def test_a_part_of_a_value_from_a_block_that_did_not_run_is_none(shop: Process) -> None:
    @step("fetch")
    async def fetch() -> dict[str, int]:
        return {"amount": 3}

    @workflow("part")
    def part(wanted: Ref[bool]) -> Any:
        with when(wanted, bool) as taken:
            fetched = fetch()
        return taken.output(fetched.pick(lambda v: v["amount"]))

    assert (await part(shop.container).run(True)).result == 3  # noqa: FBT003 - the input
    assert (await part(shop.container).run(False)).result is None  # noqa: FBT003 - the input


async def test_an_exception_in_a_predicate_fails_the_run_under_the_name_of_the_condition(
    shop: Process, journal: Journal
) -> None:
    first, second = journal.step("first"), journal.step("second")

    @workflow("broken")
    def broken(amount: Ref[int]) -> None:
        first()
        with when(amount, lambda v: 1 // v > 0):
            second()

    @workflow("broken-by-name")
    def broken_by_name(amount: Ref[int]) -> None:
        with when(amount, lambda v: 1 // v > 0, name="is-worth-it"):
            second()

    run = await broken(shop.container).run(0, raise_on_error=False)
    other = await broken_by_name(shop.container).run(0, raise_on_error=False)

    assert run.status is RunStatus.REVERTED
    assert [(error.step, error.attempts[-1].type) for error in run.errors] == [("when-1", "ZeroDivisionError")]
    assert [error.step for error in other.errors] == ["is-worth-it"]
    assert journal == ["first", "undo first"]


async def test_the_other_case_runs_where_it_is_written(shop: Process, journal: Journal) -> None:
    inside, between, other = (journal.step(name) for name in ("inside", "between", "other"))

    @workflow("apart")
    def apart(wanted: Ref[bool]) -> None:
        with when(wanted, bool) as taken:
            inside()
        between()
        with taken.otherwise():
            other()

    await apart(shop.container).run(False)  # noqa: FBT003 - the input

    assert journal == ["between", "other"]


def _of_chance(journal: Journal, said: list[object]) -> Workflow[int, Any]:
    """Return a workflow whose predicate and transforms say something else every time."""
    first, heads, tails, last = (journal.step(name) for name in ("first", "heads", "tails", "last"))

    @step("show")
    async def show(number: float) -> float:
        journal.append(f"show {number}")
        return number

    def toss(_: object) -> bool:
        said.append(random.random())  # noqa: S311 - chance
        return len(said) % 2 == 0

    @workflow("of-chance")
    def of_chance(_: Ref[int]) -> Any:
        a = first()
        number = transform(a, lambda _: random.random())  # noqa: S311 - chance
        with when(a, toss) as is_heads:
            heads()
        with is_heads.otherwise():
            tails()
        show(number)
        last()
        return [number, show.named("show-again")(number)]

    return of_chance


@pytest.mark.parametrize("committed", [False, True])
async def test_a_crash_changes_no_decision_and_no_result_of_a_transform(
    store: Store, clock: ManualClock, *, committed: bool
) -> None:
    heir = await living(store, clock, "heir")
    for at in range(1, 100):
        journal, said = Journal(), list[object]()
        flow = _of_chance(journal, said)
        mortal = Mortal(store, clock, at=at, committed=committed)
        died = await mortal.live(flow(mortal.process.container).run(1, run_id=f"run-{at}"))
        before = list(journal)
        claimed = await heir.take_over(flow)
        await until(lambda: not heir.engine.running)
        if not claimed and not before:
            continue
        run = await heir.engine.get(f"run-{at}")

        assert run.status is RunStatus.COMPLETED
        assert ("heads" in journal) != ("tails" in journal)
        assert len({each for each in journal if each.startswith("show")}) == 1
        assert run.result[0] == run.result[1]
        if not died:
            assert len(said) == 1
            return
    pytest.fail("it never ran to its end")


async def test_a_decision_and_a_transform_need_no_write_of_their_own(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    mortal = Mortal(store, clock, at=100, committed=True)
    first, second = journal.step("first"), journal.step("second")

    @workflow("few-writes")
    def few_writes(amount: Ref[int]) -> Ref[Any]:
        with when(transform(amount, lambda v: v + 1), lambda v: v > 1):
            first()
        with when(transform(amount, lambda v: v + 2), lambda v: v > 1):
            second()
        return transform(amount, lambda v: v + 3)

    await mortal.live(few_writes(mortal.process.container).run(1))

    assert [_names(writes) for writes in mortal.store.commits] == [
        [],  # the start
        ["transform-1", "when-1", "first", "transform-2", "when-2"],
        ["second"],
    ]


def _names(writes: tuple[Write, ...]) -> list[str]:
    return [write.record.name for write in writes if type(write).__name__ == "PutStep"]  # type: ignore[union-attr]


async def test_a_result_that_has_no_json_form_may_still_be_used(shop: Process) -> None:
    @step("name")
    async def name(text: str) -> str:
        return text

    @workflow("opaque")
    def opaque(text: Ref[str]) -> Ref[str]:
        class_of = transform(text, type)
        return name(transform(class_of, lambda kind: kind.__name__))

    assert (await opaque(shop.container).run("x")).result == "str"
