"""The world outside of a run: the time, the events that come in, and whoever looks at it."""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from daemon import Event, RunStatus
from daemon.clock import ManualClock
from daemon.events.model import Envelope, name_of
from daemon.workflow.run import WorkflowRun
from tests.contract.engine.processes import APP, Process

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class Paid(Event, name="order.paid"):
    """A payment came in."""

    order_id: str
    cents: int = 0


class Shipped(Event, name="order.shipped"):
    """A parcel is on its way."""

    order_id: str


async def tell(process: Process, event: Event, id_: str = "event-1") -> None:
    """Have a process take an event in."""
    envelope = Envelope(id_, name_of(type(event)), process.clock.now(), "bank")
    await process.engine.take_event(event, envelope)


async def reached(
    process: Process, run_id: str, status: RunStatus, probe: Callable[[WorkflowRun[Any]], object] = bool
) -> WorkflowRun[Any]:
    """Return a run once the store says that it stands so."""
    give_up_s = time.monotonic() + 5.0
    while True:
        record = await process.store.run(APP, run_id)
        if record is not None and record.status is status:
            steps = await process.store.steps([record.key])
            run: WorkflowRun[Any] = WorkflowRun(record, steps[record.key], graph=None)
            if probe(run):
                return run
        assert time.monotonic() < give_up_s, f"{run_id} is not {status}, but {record}"
        await asyncio.sleep(0.001)


async def ended(process: Process, run_id: str) -> WorkflowRun[Any]:
    """Return a run once it has ended; to ask for it again would start it afresh if that was by a failure."""
    give_up_s = time.monotonic() + 5.0
    while True:
        run = await process.engine.get(run_id)
        if run.status.ended and run_id not in process.engine._live:
            return run
        assert time.monotonic() < give_up_s, f"{run_id} has not ended, but is {run.record}"
        await asyncio.sleep(0.001)


async def to_the_next_timer(clock: ManualClock) -> timedelta:
    """Wait until somebody waits, move the clock to that moment, and return how far it was."""
    give_up_s = time.monotonic() + 5.0
    while clock.next_due_s() is None:
        assert time.monotonic() < give_up_s, "nobody waits for the clock"
        await asyncio.sleep(0.001)
    wait = timedelta(seconds=clock.next_due_s() or 0)
    clock.advance(wait)
    return wait
