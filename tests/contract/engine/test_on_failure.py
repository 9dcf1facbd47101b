"""Steps whose failure their run goes on without."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from daemon import (
    PermanentFailure,
    Retry,
    RunStatus,
    SourceStep,
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
from daemon.workflow.workflow import SourceWorkflow
from tests.contract.engine.crashing import check, survivals
from tests.contract.engine.processes import Journal, Process, until

SECOND = timedelta(seconds=1)


def _optional(journal: Journal, *, fails: BaseException | None = None, **options: Any) -> SourceStep[str, Any]:
    """Return a step that may fail, and whose compensation takes what there is."""
    options.setdefault("on_failure", "continue")

    @step("optional", **options)
    async def optional() -> str:
        journal.append("optional")
        raise fails or ValueError("no")

    @optional.compensate
    async def undo(data: str | None) -> None:
        journal.append(f"undo optional {data}")

    return optional


async def test_the_output_of_a_step_that_failed_is_none_and_the_run_goes_on(shop: Process, journal: Journal) -> None:
    optional = _optional(journal, retry=Retry(max_attempts=2))

    @workflow("tolerant")
    def tolerant() -> object:
        got = optional()
        journal.step("last")()
        return [got, transform(got, lambda text: f"{text!r}")]

    run = await tolerant(shop.container).run(run_id="t-1")
    stored = await shop.engine.get("t-1")

    assert journal == ["optional", "optional", "last"]
    assert (run.status, run.result, run.compensated) == (RunStatus.COMPLETED, [None, "None"], [])
    assert [(error.step, error.phase, error.tolerated, len(error.attempts)) for error in run.errors] == [
        ("optional", "invoke", True, 2)
    ]
    assert (run.steps["optional"].state, run.steps["optional"].output) == (StepState.FAILED, None)
    assert stored.to_json() == run.to_json()


@pytest.mark.parametrize(
    ("fails", "undone"),
    [(ValueError("no"), "None"), (PermanentFailure("no"), "None"), (PermanentFailure("no", compensate_input="a"), "a")],
)
async def test_a_tolerated_step_is_undone_like_a_failed_one_if_a_later_one_fails(
    shop: Process, journal: Journal, fails: BaseException, undone: str
) -> None:
    optional = _optional(journal, fails=fails, retry=Retry(max_attempts=1))

    @workflow("tolerant-first")
    def tolerant_first() -> None:
        journal.step("first")()
        optional()
        journal.step("second")()
        journal.failing()()

    with pytest.raises(WorkflowFailed) as failed:
        await tolerant_first(shop.container).run(run_id="t-1")
    run = failed.value.run

    assert journal[4:] == ["undo second", f"undo optional {undone}", "undo first"]
    assert (run.status, run.compensated) == (RunStatus.REVERTED, ["second", "optional", "first"])
    assert [(error.step, error.tolerated) for error in run.errors] == [("optional", True), ("break", False)]
    assert "(run 't-1') failed at 'break' after 1 attempt: PermanentFailure: it broke; rolled back: second, opt" in str(
        failed.value
    )
    assert str(failed.value.__cause__) == "it broke"
    assert str((await shop.engine.get("t-1")).failure().__cause__) == "PermanentFailure: it broke"


async def test_a_permanent_failure_is_tolerated_without_another_attempt(shop: Process, journal: Journal) -> None:
    optional = _optional(journal, fails=PermanentFailure("no"), retry=Retry(max_attempts=5))

    run = await _sole(optional)(shop.container).run()

    assert (run.status, journal) == (RunStatus.COMPLETED, ["optional"])


def _sole(*steps: Any) -> SourceWorkflow[None]:
    @workflow("sole")
    def sole() -> None:
        for each in steps:
            each()

    return sole


@pytest.mark.parametrize("fails_later", [False, True])
async def test_a_tolerated_step_that_timed_out_may_have_left_what_nobody_can_undo(
    shop: Process, clock: ManualClock, journal: Journal, *, fails_later: bool
) -> None:
    entered = asyncio.Event()

    @step("charge-card", timeout=SECOND, on_failure="continue")
    async def charge_card() -> str:
        entered.set()
        await asyncio.Event().wait()
        return "never"

    @charge_card.compensate
    async def refund(charge: str) -> None:
        journal.append(f"refund {charge}")

    flow = _sole(journal.step("first"), charge_card, journal.failing() if fails_later else journal.step("last"))
    waits = asyncio.create_task(flow(shop.container).run(run_id="s-1", raise_on_error=False))
    await entered.wait()
    clock.advance(SECOND)
    run = await waits

    if fails_later:
        assert journal == ["first", "break", "undo first"]
        assert run.status is RunStatus.FAILED
        assert str(run.failure()).endswith("rolled back: first; ROLLBACK INCOMPLETE: charge-card may have run.")
    else:
        assert (run.status, journal) == (RunStatus.COMPLETED, ["first", "last"])
        assert [(error.attempts[0].type, error.tolerated) for error in run.errors] == [("StepTimeout", True)]


async def test_a_member_of_a_group_and_items_of_a_loop_may_fail(shop: Process, journal: Journal) -> None:
    @step("odd-only", on_failure="continue")
    async def odd_only(number: int) -> int:
        if number % 2 == 0:
            raise ValueError(number)
        return number

    @step("numbers")
    async def numbers() -> list[int]:
        return [1, 2, 3, 4]

    @workflow("tolerant-group")
    def tolerant_group() -> object:
        found, _, last = parallelize(for_each(numbers(), odd_only), _optional(journal)(), journal.step("last")())
        return [transform(found, len), transform(found, lambda items: [item for item in items if item]), last]

    run = await tolerant_group(shop.container).run()

    assert run.result == [4, [1, 3], "last-output"]
    assert sorted(error.step for error in run.errors) == ["odd-only[1]", "odd-only[3]", "optional"]


async def test_a_runs_timeout_beats_it(shop: Process, clock: ManualClock, journal: Journal) -> None:
    entered = asyncio.Event()

    @step("hang", on_failure="continue", retry=Retry(max_attempts=3))
    async def hang() -> None:
        entered.set()
        await asyncio.Event().wait()

    @hang.compensate
    async def undo(_: None) -> None:
        journal.append("undo hang")

    @workflow("limited", timeout=SECOND)
    def limited() -> None:
        hang()
        journal.step("never")()

    waits = asyncio.create_task(limited(shop.container).run(raise_on_error=False))
    await entered.wait()
    clock.advance(SECOND)
    run = await waits

    assert (journal, run.status) == (["undo hang"], RunStatus.REVERTED)
    assert [(error.step, error.tolerated) for error in run.errors] == [("limited", False)]


async def test_a_cancellation_beats_it(shop: Process, journal: Journal) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    @step("fails-late", on_failure="continue")
    async def fails_late() -> None:
        entered.set()
        await go_on.wait()
        raise ValueError

    flow = _sole(journal.step("first"), fails_late, journal.step("never"))
    await flow(shop.container).run(run_id="s-1", wait=False)
    await entered.wait()
    cancelling = asyncio.create_task(shop.engine.cancel("s-1", wait=True))
    await until(lambda: shop.engine._live["s-1"].cancelling)
    go_on.set()
    run = await cancelling

    assert (journal, run.status) == (["first", "undo first"], RunStatus.CANCELLED)


async def test_a_tolerated_failure_in_a_child_is_its_parents_too_and_neither_fails(
    shop: Process, journal: Journal
) -> None:
    child = _sole(_optional(journal), journal.step("last"))

    @workflow("around")
    def around() -> None:
        child.as_step()

    run = await around(shop.container).run(run_id="a-1")

    assert [(error.step, error.tolerated, error.child) for error in run.errors] == [("optional", True, "a-1:sole")]
    assert (run.status, (await shop.engine.get("a-1:sole")).status) == (RunStatus.COMPLETED,) * 2


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("fails", [False, True])
async def test_a_tolerated_failure_survives_a_crash_at_any_commit(
    store: Store, clock: ManualClock, *, fails: bool, committed: bool
) -> None:
    def make(journal: Journal) -> SourceWorkflow[None]:
        last = journal.failing("last") if fails else journal.step("last")
        return _sole(journal.step("first"), journal.step("optional", fails=OSError(), on_failure="continue"), last)

    async for survival in survivals(store, clock, make, committed=committed):
        status = RunStatus.REVERTED if fails else RunStatus.COMPLETED

        check(survival, ("first", "optional", "last"), status=status, undone={"first"} if fails else ())
        assert [(error.step, error.tolerated) for error in survival.run.errors][:1] == [("optional", True)]
        assert len(survival.run.errors) == 1 + fails
