"""Starts runs and joins those that are there; answers whoever asked when a run has ended, or is parked."""

import asyncio
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Unpack

from daemon.activation import current_activation
from daemon.engine.control import Fenced
from daemon.engine.driving import Surroundings
from daemon.engine.ending import interrupted
from daemon.engine.execution import Execution
from daemon.engine.in_place import Turn, next_turn
from daemon.engine.ports import Ports
from daemon.engine.resuming import RunResumer
from daemon.engine.starting import CALLED, check_same, graphs_of, new_record
from daemon.engine.starts import Starts
from daemon.errors import ForestalledError, StoreUnavailableError
from daemon.store.model import QUEUED, RunRecord, RunStatus
from daemon.store.writes import FenceRun, InsertRun, Outcome, RequireEnded, Write
from daemon.workflow.port import RunOptions
from daemon.workflow.run import WorkflowRun
from daemon.workflow.workflow import WorkflowBase

_POLL_S = 0.25
_LEASE_AWAITED_S = 0.05  # between two looks for one that is renewed


class RunStarter(RunResumer):
    """Starts and joins runs; as `RunDriver` is made."""

    def __init__(self, ports: Ports, **around: Unpack[Surroundings]) -> None:
        super().__init__(ports, **around)
        self._starts = Starts()
        self._graphs: set[str] = set()
        self._rescues: set[asyncio.Task[Any]] = set()
        self._turn = Turn()

    def register(self, workflows: Iterable[WorkflowBase]) -> None:
        """Make workflows known by name, and with them their children, so that their runs can be resumed here."""
        for workflow in workflows:
            self._workflows[workflow.name] = workflow
            self.register(child.workflow for child in workflow.graph.children())

    @property
    def workflows(self) -> dict[str, WorkflowBase]:
        """What is known here, by name."""
        return dict(self._workflows)

    def _is_here(self, run_id: str) -> bool:
        return run_id in self._starts or super()._is_here(run_id)

    async def execute(self, workflow: WorkflowBase, value: Any, options: RunOptions) -> WorkflowRun[Any]:
        """Start or join a run; see `Engine.execute`."""
        if workflow.name not in self._workflows:
            self.register([workflow])
        activation = current_activation()
        trigger = CALLED if activation is None else activation.trigger
        run_id = options.run_id
        if run_id is None and activation is not None:
            run_id = activation.next_run_id(workflow.name)
        in_place = run_id is None and options.wait is not False and _goes_in_place(workflow)
        if in_place and not self._turn.is_short:
            await next_turn()
        record, held = new_record(self._ports, workflow, value, run_id, trigger)
        if in_place and self._ports.alone:
            run = self._unseen(workflow, record, held)
            self._launch_in_place(run)
            if run.settled and (run.record.status.ended or options.wait is None):
                return run.view()
            if run.task is None and not run.settled:
                raise interrupted(record.run_id, run.cause)
            return await self._answer(await self._join_stored(record, options), options.wait)
        may_defer = activation is not None and activation.may_defer and options.run_id is None
        may_wait = may_defer and options.wait is not False and workflow.max_concurrency is None
        fresh = run_id is None
        found = await self._begin(workflow, record, held, options, fresh=fresh, in_place=in_place, may_wait=may_wait)
        try:
            return await self._answer(found, options.wait)
        except ForestalledError:
            return await self._answer(await self._begin(workflow, record, held, options, fresh=False), options.wait)

    async def _begin(
        self,
        workflow: WorkflowBase,
        record: RunRecord,
        held: Any,
        options: RunOptions,
        *,
        fresh: bool,
        in_place: bool = False,
        may_wait: bool = False,
    ) -> Execution | WorkflowRun[Any]:
        """Make the start durable, or find the run that has this id already.

        Args:
            workflow: What to start.
            record: The start.
            held: The input.
            options: How the run is started and awaited.
            fresh: Whether nobody can have used its id.
            in_place: Whether it is driven once it is awaited.
            may_wait: Whether the start may become durable together with what the run writes first.
        """
        while self._ports.is_lapsed() and not self._ports.store.trouble:
            self._refuse_if_closing()
            await self._ports.clock.sleep(_LEASE_AWAITED_S)
        if not fresh:
            await self._starts.wait(record.run_id)
        live = self._live.get(record.run_id)
        if live is not None:
            check_same(live.record, record, workflow, options)
            return live
        self._refuse_if_closing()
        self._starts.begin(record.run_id)
        run: Execution | None = None
        try:
            existing = None
            if may_wait and await self._ports.store.run(record.app, record.run_id) is None:
                run = self._launch(self._unborn(workflow, record, held))
            else:
                existing = await self._insert(workflow, record, options)
            if run is None and existing is None:
                run = await self._start(workflow, record, held, in_place=in_place)
        except asyncio.CancelledError:
            rescue = asyncio.create_task(self._rescue(workflow, record, held), name=f"rescue {record.run_id}")
            self._rescues.add(rescue)
            rescue.add_done_callback(self._rescues.discard)
            raise
        except BaseException:
            self._starts.end(record.run_id)
            raise
        self._starts.end(record.run_id)
        return run or await self._join_stored(existing or replace(record), options)

    async def _insert(self, workflow: WorkflowBase, record: RunRecord, options: RunOptions) -> RunRecord | None:
        """Make the start durable as the run's next attempt, or return the run that answers for it.

        That is one that has completed or goes on, and one that went on when this start was asked for, whatever has
        become of it.
        """
        former: tuple[Write, ...] = ()
        graphs = graphs_of(workflow, self._graphs)
        while await self._ports.store.commit(InsertRun(record), *former, *graphs) is Outcome.CONFLICT:
            existing = await self._ports.store.run(self._ports.app, record.run_id)
            if existing is None:
                continue
            check_same(existing, record, workflow, options)
            is_over = existing.ended_us is not None and existing.ended_us <= record.created_us
            if existing.status is RunStatus.COMPLETED or not is_over:
                return existing
            record.attempt = existing.attempt + 1
            former = (RequireEnded(existing.key),)  # a rollback that gave up may be retried meanwhile
        if graphs:
            self._graphs.update(graph.hash for graph in graphs)
        return None

    async def _start(
        self, workflow: WorkflowBase, record: RunRecord, held: Any, *, in_place: bool = False
    ) -> Execution | None:
        """Drive a run whose start is durable, or have it wait for a place; `in_place`: it is driven once awaited."""
        self._ports.news.tell_run(record, record.created_us)
        if record.waiting_for == QUEUED and not await self._places.take(record):
            self._queue(record)
            return None
        run = self._readying.begun(workflow, record)
        run.values[0] = held
        return run if in_place else self._launch(run)

    def _unborn(self, workflow: WorkflowBase, record: RunRecord, held: Any) -> Execution:
        """Return a run whose start becomes durable with what it writes first."""
        run = self._readying.begun(workflow, record)
        run.values[0], run.journal.unborn = held, True
        for graph in graphs_of(workflow, self._graphs):
            run.journal.put_ahead(graph)
        return run

    def _unseen(self, workflow: WorkflowBase, record: RunRecord, held: Any) -> Execution:
        """Return a run that is to be driven at once, and that nobody can look at before it has to wait.

        Whoever watches is told of each step, and therefore has it written by itself.
        """
        self._refuse_if_closing()
        run = self._unborn(workflow, record, held)
        self._graphs.add(record.graph_hash)
        if self._ports.news.is_watched:
            self._ports.news.tell_run(record, record.created_us)
        else:
            run.journal.unseen = True
        return run

    def _refuse_if_closing(self) -> None:
        if self._closing:
            msg = "This process is stopping and starts no runs any more."
            raise StoreUnavailableError(msg)

    async def _rescue(self, workflow: WorkflowBase, record: RunRecord, held: Any) -> None:
        """Go on with a run whose starter was cancelled while its start was being committed, if it was."""
        # Commits keep their order: this one's outcome tells.
        fence = FenceRun(record.key, self._ports.owner, record.epoch)
        try:
            if await self._ports.store.commit(fence) is Outcome.APPLIED and record.run_id not in self._live:
                stored = await self._ports.store.run(record.app, record.run_id)
                if stored is not None and stored.key == record.key:  # it may have got a place already
                    await self._start(workflow, stored, held)
        finally:
            self._starts.end(record.run_id)

    async def _answer(self, found: Execution | WorkflowRun[Any], wait: bool | None) -> WorkflowRun[Any]:  # noqa: FBT001 - as `run` got it
        """Return a run when it has ended, or as `wait` says; see `RunOptions`."""
        if isinstance(found, WorkflowRun):
            return found
        if wait is False:
            return found.view()
        done: asyncio.Future[WorkflowRun[Any]] = asyncio.get_running_loop().create_future()
        waiter = done, wait is True
        found.waiters.append(waiter)
        if found.task is None:  # it comes straight from its start
            self._launch_in_place(found)
        try:
            return await done
        except asyncio.CancelledError:
            if found.journal.unborn:  # what started it may be over, and will not come again
                self._rescues.add(rescue := asyncio.create_task(self._give_birth(found), name="rescue"))
                rescue.add_done_callback(self._rescues.discard)
            raise

    async def _give_birth(self, run: Execution) -> None:
        """Make it durable that a run has started. Another process that has started it goes on with it."""
        with suppress(Fenced):
            await run.journal.flush()

    async def _join_stored(self, existing: RunRecord, options: RunOptions) -> Execution | WorkflowRun[Any]:
        """Wait for a run that another process drives, or that is parked, as `options.wait` says."""
        looked = False
        while not existing.status.ended and options.wait is not False:
            if (live := self._live.get(existing.run_id)) is not None:
                return live
            if options.wait or self._is_about_to_go_on(existing.run_id):
                held = self._parking.join(existing.run_id, to_the_end=options.wait is True)
                if held is not None:
                    return await held
            if options.wait is None and self._is_parked(existing):
                break
            if looked:
                await self._ports.clock.sleep(_POLL_S)
            looked = True
            existing = await self._ports.store.run(existing.app, existing.run_id) or existing
        return await self._stored(existing)

    def _is_about_to_go_on(self, run_id: str) -> bool:
        """Tell whether a run goes on here by itself: it waits for a place, or what is stored of it is being read."""
        parked = self._parking.parked(run_id)
        return run_id in self._resuming or (parked is not None and parked.waiting_for == QUEUED)

    def _is_parked(self, record: RunRecord) -> bool:
        if record.status is RunStatus.WAITING and record.wake_us is None:
            return record.waiting_for != QUEUED
        return record.wake_us is not None and record.wake_us - record.updated_us > self._ports.park_after_s * 1_000_000


def _goes_in_place(workflow: WorkflowBase) -> bool:
    """Tell whether to drive a run without a task until it has to wait: that saves two turns of the loop.

    Only where nothing of the application can wait, or see that it is called by whoever asked for the run: in the task
    that it has, or in the traceback of the error that it handles.
    """
    if workflow.timeout is not None or workflow.max_concurrency is not None or workflow.graph.needs_task:
        return False
    task = asyncio.current_task()
    return task is not None and not task.cancelling() and sys.exception() is None
