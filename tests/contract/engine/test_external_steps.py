"""External steps: they do their work, and then wait for somebody to report how it went."""

import asyncio
from typing import Any

import pytest

from daemon import (
    CodecError,
    PayloadTooLargeError,
    Ref,
    Retry,
    RunStateError,
    RunStatus,
    SkipTo,
    StepResponse,
    for_each,
    step,
    transform,
    workflow,
)
from daemon.clock import ManualClock
from daemon.store.port import Store
from tests.contract.engine.asking import ANN, BOB, Approval, approving, asking
from tests.contract.engine.mortal import living
from tests.contract.engine.outside import DAY, HOUR, ended, reached, to_the_next_timer
from tests.contract.engine.processes import Journal, Process

TWICE = Retry(max_attempts=2)


async def test_a_run_is_parked_until_the_outcome_is_reported(shop: Process, journal: Journal) -> None:
    approve = approving(journal)

    parked = await approve(shop.container).run(run_id="a-1")
    tasks = shop.engine.running
    await shop.engine.complete_step("a-1", "ask", ANN)
    run = await approve(shop.container).run(run_id="a-1", wait=True)

    assert (parked.status, parked.waiting_for, tasks) == (RunStatus.WAITING, "the outcome of ask", 0)
    assert (parked.steps["ask"].state, parked.steps["ask"].output) == ("waiting", None)
    assert (run.result, run.steps["ask"].output, run.steps["ask"].attempts) == ("Ann", ANN, 1)
    assert journal == ["first", "ask first-output 1"]


async def test_what_an_external_step_returns_is_not_its_output(shop: Process, journal: Journal) -> None:
    approve = approving(journal, lambda _: StepResponse(BOB))

    await approve(shop.container).run(run_id="a-1")
    await shop.engine.complete_step("a-1", "ask", ANN)
    run = await approve(shop.container).run(run_id="a-1", wait=True)

    assert run.result == "Ann"


async def test_an_output_of_another_type_is_refused_and_the_step_waits_on(shop: Process, journal: Journal) -> None:
    approve = approving(journal)

    await approve(shop.container).run(run_id="a-1")
    with pytest.raises(CodecError, match=r"the output of step 'ask' .*Approval"):
        await shop.engine.complete_step("a-1", "ask", 17)
    with pytest.raises(CodecError, match="the output of step 'ask'"):
        await shop.engine.complete_step("a-1", "ask")
    with pytest.raises(PayloadTooLargeError, match="the output of step 'ask'"):
        await shop.engine.complete_step("a-1", "ask", Approval(by="A" * (1 << 20)))
    await shop.engine.complete_step("a-1", "ask", ANN)
    run = await approve(shop.container).run(run_id="a-1", wait=True)

    assert run.result == "Ann"


async def test_an_output_that_the_reporter_could_not_check_fails_the_step_for_good(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    approve = approving(journal, retry=TWICE)
    shop, desk = [await living(store, clock, name) for name in ("shop", "desk")]

    await approve(shop.container).run(run_id="a-1")
    await desk.engine.complete_step("a-1", "ask", 17)  # which knows nothing of the workflow
    await shop.engine.heed()
    run = await ended(shop, "a-1")

    assert (run.status, journal) == (RunStatus.REVERTED, ["first", "ask first-output 1", "undo ask None", "undo first"])
    assert run.errors[0].attempts[0].type == "CodecError"


async def test_a_reported_failure_is_tried_again_and_then_fails_the_run(shop: Process, journal: Journal) -> None:
    approve = approving(journal, retry=TWICE)

    await approve(shop.container).run(run_id="a-1")
    await shop.engine.fail_step("a-1", "ask", "nobody there")
    await reached(shop, "a-1", RunStatus.WAITING, lambda run: run.steps["ask"].attempts == 2)
    await shop.engine.fail_step("a-1", "ask", TimeoutError())
    run = await ended(shop, "a-1")

    assert run.status is RunStatus.REVERTED
    assert journal == ["first", "ask first-output 1", "ask first-output 2", "undo ask None", "undo first"]
    assert [str(attempt) for attempt in run.errors[0].attempts] == [
        "ReportedFailure: nobody there",
        "ReportedFailure: TimeoutError",
    ]
    assert "'ask' after 2 attempts: ReportedFailure: TimeoutError" in str(run.failure())


async def test_an_outcome_that_nobody_reports_times_out_from_when_the_step_began(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    approve = approving(journal, retry=TWICE, timeout=2 * HOUR)

    await approve(shop.container).run(run_id="a-1")
    waits = [await to_the_next_timer(clock)]
    await reached(shop, "a-1", RunStatus.WAITING, lambda run: run.steps["ask"].attempts == 2)
    waits.append(await to_the_next_timer(clock))
    run = await ended(shop, "a-1")

    assert (waits, run.status) == ([2 * HOUR] * 2, RunStatus.REVERTED)
    assert {attempt.type for attempt in run.errors[0].attempts} == {"StepTimeout"}
    assert journal[1:4] == ["ask first-output 1", "ask first-output 2", "undo ask None"]


async def test_the_time_that_its_work_takes_is_not_added_to_the_timeout(shop: Process, clock: ManualClock) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    @step("ask", external=True, timeout=2 * HOUR)
    async def ask() -> str:
        entered.set()
        await go_on.wait()
        return "not the outcome"

    @workflow("slow-asking")
    def slow_asking() -> None:
        ask()

    running = asyncio.create_task(slow_asking(shop.container).run())
    await entered.wait()
    clock.advance(HOUR)
    go_on.set()
    await running

    assert await to_the_next_timer(clock) == HOUR


@pytest.mark.parametrize("outcome", ["completed", "failed", "cancelled", "timed out"])
async def test_its_compensation_gets_what_the_step_gave_before_it_waited(
    shop: Process, clock: ManualClock, journal: Journal, outcome: str
) -> None:
    ask, broken = asking(journal, response=lambda _: StepResponse.pending(compensate_input="ticket")), journal.failing()

    @workflow("ticketing", timeout=DAY)
    def ticketing() -> None:
        ask("what")
        broken()

    await ticketing(shop.container).run(run_id="t-1")
    if outcome == "completed":
        await shop.engine.complete_step("t-1", "ask", ANN)
    elif outcome == "failed":
        await shop.engine.fail_step("t-1", "ask", "no")
    elif outcome == "cancelled":
        await shop.engine.cancel("t-1")
    else:
        await to_the_next_timer(clock)
    run = await ended(shop, "t-1")

    assert run.status is (RunStatus.CANCELLED if outcome == "cancelled" else RunStatus.REVERTED)
    assert journal == ["ask what 1", *(["break"] if outcome == "completed" else []), "undo ask ticket"]
    with pytest.raises(RunStateError, match="waits for no report: it is compensated"):
        await shop.engine.complete_step("t-1", "ask", ANN)


async def test_without_anything_else_its_compensation_gets_the_reported_output(shop: Process, journal: Journal) -> None:
    ask, broken = asking(journal), journal.failing()

    @workflow("regretting")
    def regretting() -> None:
        ask("what")
        broken()

    await regretting(shop.container).run(run_id="r-1")
    await shop.engine.complete_step("r-1", "ask", BOB)
    await ended(shop, "r-1")

    assert journal == ["ask what 1", "break", "undo ask Bob"]


async def test_an_external_step_that_has_nothing_to_ask_is_skipped(shop: Process, journal: Journal) -> None:
    ask, broken = asking(journal, response=lambda _: StepResponse.skip()), journal.failing()

    @workflow("skipping")
    def skipping() -> None:
        ask("what")
        broken()

    run = await skipping(shop.container).run(run_id="s-1", raise_on_error=False)

    assert (run.status, run.steps["ask"].state) == (RunStatus.REVERTED, "skipped")
    assert journal == ["ask what 1", "break"]


@pytest.mark.parametrize("on_failure", ["continue", SkipTo("last")])
async def test_a_run_may_go_on_without_the_outcome(shop: Process, journal: Journal, on_failure: Any) -> None:
    ask, skipped, last = asking(journal, on_failure=on_failure), journal.step("skipped"), journal.step("last")

    @workflow("undemanding")
    def undemanding() -> Ref[Approval | None]:
        answer = ask("what")
        skipped()
        last()
        return answer

    await undemanding(shop.container).run(run_id="u-1")
    await shop.engine.fail_step("u-1", "ask", "no")
    run = await undemanding(shop.container).run(run_id="u-1", wait=True)

    assert (run.status, run.result, [error.tolerated for error in run.errors]) == (RunStatus.COMPLETED, None, [True])
    assert journal == ["ask what 1", *(["skipped"] if on_failure == "continue" else []), "last"]


async def test_the_items_of_a_loop_are_reported_by_their_names_and_no_more_wait_than_may(
    shop: Process, journal: Journal
) -> None:
    ask = asking(journal)

    @workflow("poll")
    def poll(whom: Ref[list[str]]) -> Ref[list[str]]:
        return transform(for_each(whom, ask, concurrency=2), lambda found: [each.by for each in found])

    await poll(shop.container).run(["Ann", "Bob", "Cid"], run_id="p-1")
    first = list(journal)
    with pytest.raises(RunStateError, match=r"Step 'ask\[0\]' of run 'p-1' waits for one\.$"):
        await shop.engine.complete_step("p-1", "ask", BOB)
    await shop.engine.complete_step("p-1", "ask[1]", BOB)
    await reached(shop, "p-1", RunStatus.WAITING, lambda run: "ask[2]" in run.steps)
    await shop.engine.complete_step("p-1", "ask[2]", Approval(by="Cid"))
    await shop.engine.complete_step("p-1", "ask[0]", ANN)
    run = await poll(shop.container).run(["Ann", "Bob", "Cid"], run_id="p-1", wait=True)

    assert (run.result, first) == (["Ann", "Bob", "Cid"], ["ask Ann 1", "ask Bob 1"])
    assert journal[2:] == ["ask Cid 1"]
