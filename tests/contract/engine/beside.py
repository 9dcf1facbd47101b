"""What waits for long beside something that goes on."""

import asyncio
from datetime import timedelta
from typing import Any

from daemon import (
    PermanentFailure,
    Ref,
    RunStatus,
    SourceStep,
    SourceWorkflow,
    parallelize,
    sleep,
    step,
    wait_for_event,
    workflow,
)
from tests.contract.engine.outside import Paid, reached
from tests.contract.engine.processes import Journal, Process


class Slow:
    """A step that goes on until it is told to end."""

    def __init__(self, journal: Journal, *, fails: bool = False) -> None:
        self.entered, self.go_on = asyncio.Event(), asyncio.Event()
        self.step: SourceStep[None, Any] = self._make(journal, fails=fails)

    def _make(self, journal: Journal, *, fails: bool) -> SourceStep[None, Any]:
        @step("slow")
        async def slow() -> None:
            self.entered.set()
            await self.go_on.wait()
            journal.append("slow")
            if fails:
                raise PermanentFailure("it broke")

        return slow


def paying(journal: Journal, *, timeout: timedelta | None = None, name: str = "paid") -> SourceWorkflow[Any]:
    """Return a workflow that waits for a payment, and then has something to do."""
    first, last = journal.step(f"first-{name}"), journal.step(f"last-{name}")

    @workflow(name, timeout=timeout)
    def paid() -> Ref[Paid]:
        first()
        event = wait_for_event(Paid, key=name, match=lambda event: event.order_id)
        last()
        return event

    return paid


def sleeping(journal: Journal, delay: timedelta, name: str = "slept") -> SourceWorkflow[Any]:
    last = journal.step(f"last-{name}")

    @workflow(name)
    def slept() -> None:
        sleep(delay)
        last()

    return slept


def put_beside(slow: Slow, *children: SourceWorkflow[Any], timeout: timedelta | None = None) -> SourceWorkflow[None]:
    @workflow("beside", timeout=timeout)
    def beside() -> None:
        parallelize(*(child.as_step() for child in children), slow.step())

    return beside


async def waiting_beside(
    shop: Process, beside: SourceWorkflow[Any], slow: Slow, child: str = "paid"
) -> asyncio.Task[Any]:
    """Start a run, and return once its child waits and the step beside it goes on."""
    running = asyncio.create_task(beside(shop.container).run(run_id="b-1", raise_on_error=False))
    await slow.entered.wait()
    await reached(shop, f"b-1:{child}", RunStatus.WAITING)
    return running
