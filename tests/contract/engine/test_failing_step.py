"""How the step that failed itself is undone."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from daemon import (
    PermanentFailure,
    Retry,
    RunStatus,
    StepContext,
    StepResponse,
    step,
    workflow,
)
from daemon.clock import ManualClock
from tests.contract.engine.processes import Journal, Process, until


def _with_parameter(kind: str, journal: Journal) -> Any:  # noqa: C901 - one function a case
    @step("fail")
    async def fail() -> str:
        raise ValueError

    if kind == "optional":

        @fail.compensate
        async def optional(data: str | None) -> None:
            journal.append(f"undo {data}")

    elif kind == "any":

        @fail.compensate
        async def anything(data: Any) -> None:
            journal.append(f"undo {data}")

    elif kind == "object":

        @fail.compensate
        async def an_object(data: object) -> None:
            journal.append(f"undo {data}")

    elif kind == "bare":

        @fail.compensate
        async def bare(data) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
            journal.append(f"undo {data}")

    elif kind == "nothing":

        @fail.compensate
        async def nothing() -> None:
            journal.append("undo None")

    else:

        @fail.compensate
        async def refusing(data: str) -> None:
            journal.append(f"undo {data}")

    return fail


@pytest.mark.parametrize("kind", ["optional", "any", "object", "bare", "nothing"])
async def test_the_step_that_failed_is_undone_with_none_where_its_compensation_takes_it(
    shop: Process, journal: Journal, kind: str
) -> None:
    fail = _with_parameter(kind, journal)

    @workflow("failing-itself")
    def failing_itself() -> None:
        fail()

    run = await failing_itself(shop.container).run(raise_on_error=False)

    assert journal == ["undo None"]
    assert (run.status, run.compensated) == (RunStatus.REVERTED, ["fail"])


async def test_the_step_that_failed_is_not_undone_where_its_compensation_refuses_none(
    shop: Process, journal: Journal
) -> None:
    fail = _with_parameter("refusing", journal)

    @workflow("refusing-none")
    def refusing_none() -> None:
        fail()

    run = await refusing_none(shop.container).run(raise_on_error=False)

    assert (journal, run.compensated, run.status) == ([], [], RunStatus.REVERTED)


async def test_a_permanent_failure_ends_the_attempts_and_says_what_to_undo(shop: Process, journal: Journal) -> None:
    @step("charge", retry=Retry(max_attempts=5))
    async def charge() -> StepResponse[str, str]:
        journal.append("charge")
        raise PermanentFailure("card refused", compensate_input="the half that was charged")

    @charge.compensate
    async def refund(what: str) -> None:
        journal.append(f"refund {what}")

    @workflow("charging")
    def charging() -> None:
        charge()

    run = await charging(shop.container).run(raise_on_error=False)

    assert journal == ["charge", "refund the half that was charged"]
    assert run.compensated == ["charge"]
    assert str(run.errors[0]) == "PermanentFailure: card refused"


async def test_what_a_permanent_failure_leaves_may_be_of_a_type_of_its_own(shop: Process, journal: Journal) -> None:
    @step("charge")
    async def charge() -> int:
        raise PermanentFailure("half done", compensate_input="a text")

    @charge.compensate
    async def refund(what: int | str | None) -> None:
        journal.append(f"refund {what!r}")

    @workflow("own-type")
    def own_type() -> None:
        charge()

    run = await own_type(shop.container).run(raise_on_error=False)

    assert journal == ["refund 'a text'"]
    assert run.status is RunStatus.REVERTED


async def test_what_a_permanent_failure_leaves_and_nobody_can_undo_is_told(shop: Process, journal: Journal) -> None:
    @step("charge")
    async def charge() -> int:
        raise PermanentFailure("half done", compensate_input=object())

    @charge.compensate
    async def refund(what: int) -> None:
        journal.append("never")

    @workflow("unfit")
    def unfit() -> None:
        charge()

    run = await unfit(shop.container).run(raise_on_error=False)

    assert (journal, run.status) == ([], RunStatus.FAILED)
    assert "ROLLBACK INCOMPLETE: the compensation of charge" in str(run.failure())


async def test_what_nobody_can_undo_is_told_once_though_the_step_had_timed_out_before(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    @step("charge", timeout=timedelta(seconds=1), retry=Retry(max_attempts=2))
    async def charge(_: object, ctx: StepContext) -> int:
        if ctx.attempt == 1:
            await asyncio.Event().wait()
        raise PermanentFailure("half done", compensate_input=object())

    @charge.compensate
    async def refund(what: int) -> None:
        journal.append("never")

    @workflow("unfit-late")
    def unfit_late() -> None:
        charge(None)

    running = asyncio.create_task(unfit_late(shop.container).run(raise_on_error=False))
    await until(lambda: clock.next_due_s() is not None, what="it runs")
    clock.advance(timedelta(seconds=1))
    run = await running

    assert (journal, run.status) == ([], RunStatus.FAILED)
    assert [(error.step, error.phase) for error in run.errors] == [("charge", "invoke"), ("charge", "compensate")]
