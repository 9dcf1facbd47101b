"""Reports of external steps' outcomes: what is refused, and which one counts."""

import pytest

from daemon import (
    Retry,
    RunNotFound,
    RunStateError,
    RunStatus,
)
from daemon.clock import ManualClock
from daemon.store.port import Store
from tests.contract.engine.asking import ANN, approving
from tests.contract.engine.mortal import living
from tests.contract.engine.outside import HOUR, reached, to_the_next_timer
from tests.contract.engine.processes import Journal, Process


async def test_a_report_for_what_does_not_wait_says_in_which_state_it_is(
    shop: Process, clock: ManualClock, journal: Journal
) -> None:
    approve = approving(journal, retry=Retry(max_attempts=2, delay=HOUR, max_delay=HOUR))
    said: list[str] = []

    async def refused(name: str) -> None:
        for report in (shop.engine.complete_step, shop.engine.fail_step):
            with pytest.raises(RunStateError) as error:
                await report("a-1", name, "no")
            said.append(str(error.value))

    with pytest.raises(RunNotFound):
        await shop.engine.complete_step("a-1", "ask", ANN)
    await approve(shop.container).run(run_id="a-1")
    await refused("first")
    await refused("answer")
    await shop.engine.fail_step("a-1", "ask", "nobody there")
    await reached(shop, "a-1", RunStatus.WAITING, lambda run: run.waiting_for == "attempt 2 of ask")
    await refused("ask")
    await to_the_next_timer(clock)
    await reached(shop, "a-1", RunStatus.WAITING, lambda run: run.waiting_for == "the outcome of ask")
    await shop.engine.complete_step("a-1", "ask", ANN)
    await approve(shop.container).run(run_id="a-1", wait=True)
    await refused("ask")

    assert said[::2] == said[1::2]
    assert said[::2] == [
        "Step 'first' of run 'a-1' waits for no report: it is completed.",
        "Step 'answer' of run 'a-1' waits for no report: the run is waiting, and has not come to a step of this name.",
        "Step 'ask' of run 'a-1' waits for no report: it waits for its next attempt.",
        "Step 'ask' of run 'a-1' waits for no report: it is completed.",
    ]


async def test_a_report_of_a_step_that_there_is_not_names_the_one_that_was_meant(
    shop: Process, journal: Journal
) -> None:
    approve = approving(journal)
    await approve(shop.container).run(run_id="a-1")

    with pytest.raises(RunStateError, match=r"has not come to a step of this name\. Did you mean 'ask'\?$"):
        await shop.engine.complete_step("a-1", "aks", ANN)


async def test_a_failure_that_is_no_error_is_refused(shop: Process, journal: Journal) -> None:
    approve, error = approving(journal), None
    await approve(shop.container).run(run_id="a-1")

    with pytest.raises(TypeError, match="error is a text or an exception, not None"):
        await shop.engine.fail_step("a-1", "ask", error)  # type: ignore[arg-type]


async def test_of_two_reports_the_first_counts(store: Store, clock: ManualClock, journal: Journal) -> None:
    approve = approving(journal)
    shop, desk = [await living(store, clock, name) for name in ("shop", "desk")]

    await approve(shop.container).run(run_id="a-1")
    await desk.engine.complete_step("a-1", "ask", {"by": "Ann"})
    with pytest.raises(RunStateError, match="its outcome was reported already"):
        await desk.engine.complete_step("a-1", "ask", {"by": "Bob"})
    with pytest.raises(RunStateError, match="its outcome was reported already"):
        await desk.engine.fail_step("a-1", "ask", "too late")
    await shop.engine.heed(everything=False)
    run = await approve(shop.container).run(run_id="a-1", wait=True)

    assert run.result == "Ann"
