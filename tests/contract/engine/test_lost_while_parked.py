"""A process that was stopped for longer than its lease, with runs that wait: they are others' by then."""

from datetime import timedelta

from daemon import Retry, RunStatus, step, workflow
from daemon.clock import ManualClock
from daemon.store.port import Store
from daemon.workflow.workflow import SourceWorkflow
from tests.contract.engine.mortal import living
from tests.contract.engine.outside import HOUR, reached
from tests.contract.engine.processes import Journal, Process, until

_LATE = Retry(max_attempts=2, delay=HOUR)


async def _be_late(shop: Process, clock: ManualClock, flow: SourceWorkflow[None]) -> None:
    """Have a run parked here, taken over by another process, and due in both at the same time."""
    await flow(shop.container).run(run_id="r-1", raise_on_error=False, wait=None)
    await shop.store.retire(shop.owner)  # its lease is over, and it does not know
    other = await living(shop.store, clock, "other")
    assert await other.take_over(flow)
    clock.advance(timedelta(hours=1))
    await until(lambda: not shop.engine.running and not shop.engine._parking.count)


async def test_an_attempt_is_not_made_by_a_process_that_has_lost_the_run(
    store: Store, shop: Process, clock: ManualClock, journal: Journal
) -> None:
    @step("busy", retry=_LATE)
    async def busy() -> None:
        journal.append("busy")
        if len(journal) == 1:
            raise OSError("not yet")

    @workflow("lost-before-an-attempt")
    def flow() -> None:
        busy()

    await _be_late(shop, clock, flow)
    await reached(shop, "r-1", RunStatus.COMPLETED)

    assert journal == ["busy", "busy"]


async def test_a_compensation_is_not_tried_by_a_process_that_has_lost_the_run(
    store: Store, shop: Process, clock: ManualClock, journal: Journal
) -> None:
    @step("first", compensation_retry=_LATE)
    async def first() -> None:
        journal.append("first")

    @first.compensate
    async def undo() -> None:
        journal.append("undo")
        if journal.count("undo") == 1:
            raise OSError("not yet")

    broken = journal.failing()

    @workflow("lost-before-a-compensation")
    def flow() -> None:
        first()
        broken()

    await _be_late(shop, clock, flow)
    await reached(shop, "r-1", RunStatus.REVERTED)

    assert journal == ["first", "break", "undo", "undo"]
