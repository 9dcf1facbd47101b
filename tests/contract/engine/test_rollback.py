"""What is undone when a run fails, in which order, with what, and what the run says of it."""

import pytest

from daemon import (
    PermanentFailure,
    Retry,
    RunNotCompleted,
    RunStatus,
    StepContext,
    StepResponse,
    StepState,
    WorkflowFailed,
    step,
    workflow,
)
from tests.contract.engine.processes import Journal, Process


async def test_a_failed_run_undoes_what_was_finished_last_first(shop: Process, journal: Journal) -> None:
    first, second, broken = journal.step("first"), journal.step("second"), journal.failing()

    @workflow("backwards")
    def backwards() -> None:
        first()
        second()
        broken()

    run = await backwards(shop.container).run(raise_on_error=False)

    assert journal == ["first", "second", "break", "undo second", "undo first"]
    assert run.status is RunStatus.REVERTED
    assert run.compensated == ["second", "first"]
    assert [each.state for each in run.steps.values()] == [
        StepState.COMPENSATED,
        StepState.COMPENSATED,
        StepState.FAILED,
    ]


@pytest.mark.parametrize(
    ("message", "said"), [("it broke\nbadly", "it broke badly"), ("It broke.", "It broke"), ("no ...", "no ...")]
)
async def test_the_error_says_in_one_sentence_what_happened(
    shop: Process, journal: Journal, message: str, said: str
) -> None:
    first, broken = journal.step("first"), journal.failing(fails_with=message)

    @workflow("telling")
    def telling() -> None:
        first()
        broken()

    with pytest.raises(WorkflowFailed) as failed:
        await telling(shop.container).run(run_id="telling-1")

    assert str(failed.value) == (
        f"Workflow 'telling' (run 'telling-1') failed at 'break' after 1 attempt: PermanentFailure: {said}; "
        "rolled back: first."
    )
    assert isinstance(failed.value.__cause__, PermanentFailure)
    assert failed.value.run.status is RunStatus.REVERTED


async def test_an_error_keeps_every_attempt(shop: Process, journal: Journal) -> None:
    broken = journal.step("break", fails=ValueError("no"), retry=Retry(max_attempts=3))

    @workflow("trying")
    def trying() -> None:
        broken()

    run = await trying(shop.container).run(raise_on_error=False)
    (error,) = run.errors

    assert (error.step, error.phase) == ("break", "invoke")
    assert [str(attempt) for attempt in error.attempts] == ["ValueError: no"] * 3
    assert "raise fails" in error.attempts[0].traceback
    assert error.attempts[0].time.tzinfo is not None
    assert "after 3 attempts" in str(run.failure())


async def test_a_result_that_does_not_exist_cannot_be_read(shop: Process, journal: Journal) -> None:
    broken = journal.failing()

    @workflow("nothing")
    def nothing() -> None:
        broken()

    run = await nothing(shop.container).run(raise_on_error=False)

    with pytest.raises(RunNotCompleted, match="reverted"):
        _ = run.result


async def test_a_compensation_gets_what_its_step_gave_for_it(shop: Process, journal: Journal) -> None:
    @step("reserve")
    async def reserve() -> StepResponse[str, int]:
        return StepResponse("a shelf", compensate_input=17)

    @reserve.compensate
    async def release(number: int, ctx: StepContext) -> None:
        journal.append(f"{ctx.step} {number} {ctx.attempt} {ctx.run_id}")

    @step("nothing-given")
    async def nothing_given() -> StepResponse[str, str]:
        return StepResponse("the output")

    @nothing_given.compensate
    async def undo(data: str) -> None:
        journal.append(data)

    @step("takes-nothing")
    async def takes_nothing() -> str:
        return "unused"

    @takes_nothing.compensate
    def undo_in_thread() -> None:
        journal.append("in a thread, with nothing")

    broken = journal.failing()

    @workflow("giving")
    def giving() -> None:
        reserve()
        nothing_given()
        takes_nothing()
        broken()

    await giving(shop.container).run(run_id="giving-1", raise_on_error=False)

    assert journal == ["break", "in a thread, with nothing", "the output", "reserve 17 1 giving-1"]


async def test_a_compensate_input_of_none_is_given_as_it_is(shop: Process, journal: Journal) -> None:
    @step("none")
    async def none() -> StepResponse[str, int | None]:
        return StepResponse("output", compensate_input=None)

    @none.compensate
    async def undo(data: int | None) -> None:
        journal.append(repr(data))

    broken = journal.failing()

    @workflow("nil")
    def nil() -> None:
        none()
        broken()

    run = await nil(shop.container).run(raise_on_error=False)

    assert journal == ["break", "None"]
    assert run.compensated == ["none"]


async def test_skipped_steps_and_steps_that_never_started_are_not_undone(shop: Process, journal: Journal) -> None:
    @step("skip")
    async def skip() -> StepResponse[str, str]:
        return StepResponse.skip()

    @skip.compensate
    async def undo(_: str | None) -> None:
        journal.append("undo skip")

    broken, later = journal.failing(), journal.step("later")

    @workflow("skipping-back")
    def skipping_back() -> None:
        skip()
        broken()
        later()

    run = await skipping_back(shop.container).run(raise_on_error=False)

    assert journal == ["break"]
    assert (run.compensated, run.status) == ([], RunStatus.REVERTED)
    assert list(run.steps) == ["skip", "break"]


async def test_a_compensation_is_tried_again(shop: Process, journal: Journal) -> None:
    @step("first", compensation_retry=Retry(max_attempts=3))
    async def first() -> list[int]:
        return [1]

    @first.compensate
    async def undo(data: list[int], ctx: StepContext) -> None:
        data.append(ctx.attempt)
        journal.append(f"undo {data}")
        if ctx.attempt < 3:
            raise OSError

    broken = journal.failing()

    @workflow("again-back")
    def again_back() -> None:
        first()
        broken()

    run = await again_back(shop.container).run(raise_on_error=False)

    assert journal == ["break", "undo [1, 1]", "undo [1, 2]", "undo [1, 3]"]
    assert (run.status, run.compensated) == (RunStatus.REVERTED, ["first"])
    assert [error.phase for error in run.errors] == ["invoke"]


async def test_a_compensation_that_fails_permanently_is_not_tried_again(shop: Process, journal: Journal) -> None:
    final = journal.step("final", undo_fails=PermanentFailure("never"), compensation_retry=Retry(max_attempts=3))
    broken = journal.failing()

    @workflow("final-back")
    def final_back() -> None:
        final()
        broken()

    run = await final_back(shop.container).run(raise_on_error=False)

    assert journal == ["final", "break", "undo final"]
    assert run.status is RunStatus.FAILED
    assert [(error.step, len(error.attempts)) for error in run.errors] == [("break", 1), ("final", 1)]


async def test_a_compensation_that_gives_up_stops_no_other_and_is_told(shop: Process, journal: Journal) -> None:
    first, broken = journal.step("first"), journal.failing()
    stuck = journal.step("stuck", undo_fails=OSError("no way"), compensation_retry=Retry(max_attempts=2))

    @workflow("stuck-run")
    def stuck_run() -> None:
        first()
        stuck()
        broken()

    with pytest.raises(WorkflowFailed) as failed:
        await stuck_run(shop.container).run(run_id="stuck-1")
    run = failed.value.run

    assert journal == ["first", "stuck", "break", "undo stuck", "undo stuck", "undo first"]
    assert (run.status, run.compensated) == (RunStatus.FAILED, ["first"])
    assert [(error.step, error.phase, len(error.attempts)) for error in run.errors] == [
        ("break", "invoke", 1),
        ("stuck", "compensate", 2),
    ]
    assert str(failed.value) == (
        "Workflow 'stuck-run' (run 'stuck-1') failed at 'break' after 1 attempt: PermanentFailure: it broke; rolled "
        "back: first; ROLLBACK INCOMPLETE: the compensation of stuck failed after 2 attempts: OSError: no way."
    )
    assert run.steps["stuck"].state is StepState.COMPENSATION_FAILED


async def test_a_stored_failure_tells_the_same(shop: Process, journal: Journal) -> None:
    first, broken = journal.step("first"), journal.failing()

    @workflow("stored-failure")
    def stored_failure() -> None:
        first()
        broken()

    run = await stored_failure(shop.container).run(run_id="stored-1", raise_on_error=False)
    stored = await shop.engine.get("stored-1")

    assert stored.to_json() == run.to_json()
    assert str(stored.failure()) == str(run.failure())
    assert type(stored.failure().__cause__).__name__ == "RemoteError"
    assert str(stored.failure().__cause__) == "PermanentFailure: it broke"
