"""Two processes that start one run at the same time: one is late, and answers as the one that was not."""

import asyncio
from contextlib import nullcontext
from datetime import timedelta

import pytest

from daemon import RunStatus, WorkflowRun, workflow
from daemon.clock import ManualClock
from daemon.store.port import Store
from daemon.store.writes import InsertRun, Write
from daemon.workflow.workflow import SourceWorkflow
from tests.contract.engine.mortal import living
from tests.contract.engine.processes import CountingStore, Journal, Process, until
from tests.contract.engine.test_repeated_triggers import handling


class LateStore(CountingStore):
    """A store to which the start of a run takes long."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.is_asked = False
        self.goes_on = asyncio.Event()
        self.before_commit = self._hold_starts

    async def _hold_starts(self, writes: tuple[Write, ...]) -> None:
        if isinstance(writes[0], InsertRun):
            self.is_asked = True
            await self.goes_on.wait()


def _failing(journal: Journal) -> SourceWorkflow[None]:
    reserve, broken = journal.step("reserve"), journal.failing()

    @workflow("failing")
    def failing() -> None:
        reserve()
        broken()

    return failing


@pytest.mark.parametrize("in_handler", [False, True])
@pytest.mark.parametrize("former", [False, True])
async def test_a_start_that_is_late_is_answered_with_what_became_of_the_other(
    store: Store, clock: ManualClock, journal: Journal, *, in_handler: bool, former: bool
) -> None:
    late = LateStore(store)
    one, other = await living(store, clock, "one"), await living(late, clock, "other")
    failing = _failing(journal)

    async def start(process: Process) -> WorkflowRun[None]:
        with handling() if in_handler else nullcontext():
            run_id = None if in_handler else "run-1"
            return await failing(process.container).run(run_id=run_id, raise_on_error=False)

    if former:
        await start(one)
    journal.clear()
    second = asyncio.create_task(start(other))
    await until(lambda: late.is_asked, what="the second start is on its way")
    clock.advance(timedelta(seconds=1))
    first = await start(one)
    late.goes_on.set()
    answer = await second

    assert (answer.status, answer.attempt) == (RunStatus.REVERTED, first.attempt)
    assert journal[-2:] == ["break", "undo reserve"]
    assert journal.count("break") == 1


async def test_a_start_that_is_asked_for_as_the_other_ends_is_one_of_its_own(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    one, other = await living(store, clock, "one"), await living(store, clock, "other")
    failing = _failing(journal)

    first = await failing(one.container).run(run_id="run-1", raise_on_error=False)
    second = await failing(other.container).run(run_id="run-1", raise_on_error=False)

    assert (first.attempt, second.attempt, journal.count("break")) == (1, 2, 2)
