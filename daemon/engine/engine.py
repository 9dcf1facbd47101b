"""The workflow engine: starts, joins, resumes and shows runs, and does what is asked of them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any, Unpack

from daemon.engine.driving import Surroundings
from daemon.engine.incoming import Incoming
from daemon.engine.operations import latest, reopen, report_error, report_output, request_cancel
from daemon.engine.ports import Ports
from daemon.engine.rerunning import Rerun, rerun
from daemon.engine.starter import RunStarter
from daemon.engine.watching import RunEvent, RunWatch, Subject, event_of_run, event_of_step
from daemon.errors import LEFT_OUT
from daemon.events.model import Envelope, Event
from daemon.store.model import RunRecord
from daemon.workflow.port import RunOptions
from daemon.workflow.run import SHOWN, WorkflowRun


class WorkflowEngine(RunStarter):
    """Starts, joins, resumes and shows the runs of one application: `await container.aget(WorkflowEngine)`.

    Attributes:
        incoming: Takes in the events that workflows wait for; for machinery.
    """

    def __init__(self, ports: Ports, **around: Unpack[Surroundings]) -> None:
        super().__init__(ports, **around)
        self.incoming = Incoming(self._ports, self._workflows)

    async def take_event(self, event: Event, envelope: Envelope) -> None:
        """Keep an event for the runs that wait for it, now or later, and go on with those that are here.

        Raises:
            Exception: Whatever a `match` raised; the event is kept for the others.
        """
        try:
            await self.incoming.take(event, envelope)
        finally:
            await self.heed(everything=False)

    async def cancel(self, run_id: str, *, wait: bool = False) -> WorkflowRun[Any]:
        """Ask for a run to be rolled back and to end `cancelled`; return it as it stands once that is durable.

        No new step starts. Those that run are awaited, then everything is undone as after a failure. A run that
        waits does so at once; one that rolls back already goes on with it, and ends `cancelled`, too. It ends `failed`
        if a compensation gives up. The request reaches the run in whichever process it is, also after a crash; a run
        that completes before it does stays completed.

        Args:
            run_id: Its latest attempt is cancelled.
            wait: Wait for the end.

        Raises:
            RunNotFound: No run has this id.
            RunStateError: It has ended; the message says how.
        """
        live = self._live.get(run_id)
        if live is not None and live.journal.unborn:
            await live.journal.flush()
        record = await request_cancel(self._ports, run_id)
        await self._cancel_here(record)
        return await self._asked(record, wait=wait)

    async def retry(self, run_id: str, *, wait: bool = False) -> WorkflowRun[Any]:
        """Go on with a rollback that gave up; return the run as it stands once that is durable.

        The compensations that gave up are tried afresh, by their `compensation_retry`; nothing else is undone again.
        The run ends as it would have then. It goes on here if its workflow is known here, else in a daemon.

        Args:
            run_id: Its latest attempt is meant.
            wait: Wait for the end.

        Raises:
            RunNotFound: No run has this id.
            RunStateError: It is not `failed`, or none of its compensations gave up.
        """
        known = self._workflows
        return await self._anew(run_id, lambda: reopen(self._ports, run_id, known, closing=self._closing), wait=wait)

    async def rerun(
        self,
        run_id: str,
        *,
        from_step: str | None = None,
        input: Any = LEFT_OUT,
        wait: bool | None = False,
        here: bool = True,
    ) -> WorkflowRun[Any]:
        """Run a run that has ended once more, as its next attempt; return it once its start is durable.

        The former attempt is kept in history. Without `from_step` everything runs again. With it, what comes before
        that step keeps its stored outcome: steps, children, decisions, timers, events that it waited for; and the step
        and what comes after it run. Of a group that runs at the same time, the other steps that completed keep theirs.
        The attempt has a timeout and places of its own.

        Args:
            run_id: Its latest attempt is meant.
            from_step: A step, a loop with all its items, a child, a timer or a wait. What comes before it must have
                completed, and must not have been undone; and the workflow must be as it was.
            input: Of the workflow's type, or with `from_step` of that step's; left out: as before. (Machinery gives
                `Json`, which is read as that.)
            wait: True waits for the end, None until it ends or is parked.
            here: It goes on here if its workflow is known here; else, or with False, in a daemon.

        Raises:
            RunNotFound: No run has this id.
            RunStateError: It has not ended, is a child of another run, or cannot go on from this step; says why.
            CodecError: The input does not fit.
            PayloadTooLargeError: It is above the limit.
        """
        asked = Rerun(run_id, from_step, input, here=here and not self._closing)
        known, execution = self._workflows, self._readying.begun
        return await self._anew(run_id, lambda: rerun(self._ports, asked, known, execution), wait=wait)

    async def complete_step(self, run_id: str, step: str, output: Any = None) -> None:
        """Report the output of an external step, which waits for it; the run goes on, in whichever process it is.

        Args:
            run_id: Of the run that the step is in; a child has its own.
            step: Its name.
            output: Of the step's declared type. (Machinery gives `Json`, which is read as that.)

        Raises:
            RunNotFound: No run has this id.
            RunStateError: The step does not wait for a report; the message says in what state it is.
            CodecError: The output does not fit the step's type.
            PayloadTooLargeError: It is above the limit.
        """
        await report_output(self._ports, self._workflows, run_id, step, output)
        await self.heed(everything=False)

    async def fail_step(self, run_id: str, step: str, error: str | BaseException) -> None:
        """Report that an external step, which waits for its outcome, has failed; it is tried again by its `retry`.

        Args:
            run_id: Of the run that the step is in; a child has its own.
            step: Its name.
            error: Why.

        Raises:
            RunNotFound: No run has this id.
            RunStateError: The step does not wait for a report; the message says in what state it is.
        """
        await report_error(self._ports, self._workflows, run_id, step, error)
        await self.heed(everything=False)

    def watch(self, *, run_id: str | None = None, workflow: str | None = None) -> RunWatch:
        """Return an iterator over what happens to runs from now on, each told once it is durable.

            async for event in engine.watch(run_id="order-17"):
                print(event.step or event.run_id, event.state)

        Left out, it tells of all runs that this process drives, their children included, until it is closed or this
        process stops. Of one run it tells wherever that is driven: first how it stands, then what happens, until that
        has ended; its children are steps of it, and may be watched by their own ids. `aclose` ends it earlier.

        Args:
            run_id: Only of this run; asking for the first event raises `RunNotFound` if there is none.
            workflow: Only of runs of this workflow.
        """
        subject = None
        if run_id is not None:
            subject = Subject(run_id, partial(self._look, run_id), partial(self._drives, run_id))
        return RunWatch(self._ports.news, self._ports.clock, workflow=workflow, subject=subject)

    async def _look(self, run_id: str) -> tuple[int, list[RunEvent]]:
        """Return a run's latest attempt, and where it and its steps stand, as it is stored."""
        record = await latest(self._ports, run_id)
        steps = (await self._ports.store.steps([record.key]))[record.key]
        events = [event_of_step(record, each, each.ended_us or each.started_us) for each in steps if each.kind in SHOWN]
        place = len(events) if record.status.ended else 0
        events.insert(place, event_of_run(record, record.ended_us or record.updated_us))
        return record.attempt, events

    def _drives(self, run_id: str) -> bool:
        """Tell whether a run is driven here at the moment, by itself or as a child."""
        return run_id in self._live or any(
            each.record.run_id == run_id for run in self._live.values() for each in run.tree()
        )

    async def _anew(
        self, run_id: str, store: Callable[[], Awaitable[RunRecord]], *, wait: bool | None
    ) -> WorkflowRun[Any]:
        """Have it stored that a run that had ended goes on, and go on with it here if it is this process's."""
        begun = asyncio.create_task(self._begin_anew(run_id, store), name=f"anew {run_id}")
        self._rescues.add(begun)
        begun.add_done_callback(self._rescues.discard)
        return await self._asked(await asyncio.shield(begun), wait=wait)

    async def _begin_anew(self, run_id: str, store: Callable[[], Awaitable[RunRecord]]) -> RunRecord:
        await self._starts.wait(run_id)
        self._starts.begin(run_id)
        try:
            live = self._live.get(run_id)
            if live is not None and live.task is not None and live.record.status.ended:
                await asyncio.wait([live.task])  # it still closes its services
            record = await store()
            asked = replace(record)
            if record.owner:
                self._ports.news.tell_run(record, record.updated_us)
                await self._resume(record)
            return asked
        finally:
            self._starts.end(run_id)

    async def _asked(self, record: RunRecord, *, wait: bool | None) -> WorkflowRun[Any]:
        """Return a run of which something was asked: as it stands, at its end, or when it ends or is parked."""
        if wait is False:
            return await self.get(record.run_id)
        found = self._live.get(record.run_id) or await self._join_stored(record, RunOptions(wait=wait))
        return await self._answer(found, wait)
