"""The workflow engine: starts, joins, resumes and shows runs."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

import svcs

from daemon.activation import Trigger, current_activation
from daemon.engine.drive import drive
from daemon.engine.ending import interrupted, log_end
from daemon.engine.execution import Execution, Fenced, Ports, Stop, log
from daemon.engine.operations import reopen, request_cancel
from daemon.engine.parking import Parking, Waiter
from daemon.engine.reading import RunReader
from daemon.engine.starting import CALLED, check_same, new_record, trigger_of
from daemon.errors import StoreUnavailableError
from daemon.store.model import RunRecord, RunStatus
from daemon.store.writes import FenceRun, InsertRun, Outcome, PutGraph, RequireEnded, Write
from daemon.workflow.context import RunScope
from daemon.workflow.port import RunOptions
from daemon.workflow.run import WorkflowRun
from daemon.workflow.workflow import WorkflowBase

_POLL_S = 0.25
_CANCEL_S = 5.0
_NO_CONTAINER = svcs.Container(svcs.Registry())
Containers = Callable[[], AbstractAsyncContextManager[svcs.Container]]


class WorkflowEngine(RunReader):
    """Starts, joins, resumes and shows the runs of one application.

    Args:
        ports: The store, the clock, and who this process is.
        containers: Opens the services of one run: a run may outlive whoever started it.
        options: The table `[options.<workflow>]` by workflow name.
        on_staged: Called after events may have been staged for publication.
    """

    def __init__(
        self,
        ports: Ports,
        *,
        containers: Containers,
        options: Callable[[str], Mapping[str, Any]] = lambda _: {},
        on_staged: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(ports)
        self._containers = containers
        self._options = options
        self._on_staged = on_staged
        self._starting: dict[str, asyncio.Future[None]] = {}
        self._parking = Parking(ports.clock, self._resume)
        self._graphs: set[str] = set()
        self._resuming: set[str] = set()
        self._cancelled: set[str] = set()  # those among them that somebody cancels meanwhile
        self._rescues: set[asyncio.Task[Any]] = set()
        self._closing = False

    def register(self, workflows: Iterable[WorkflowBase]) -> None:
        """Make workflows known by name, so that their runs can be resumed here."""
        self._workflows.update({workflow.name: workflow for workflow in workflows})

    @property
    def workflows(self) -> dict[str, WorkflowBase]:
        """What is known here, by name."""
        return dict(self._workflows)

    @property
    def running(self) -> int:
        """How many runs this process drives at the moment."""
        return len(self._live)

    async def execute(self, workflow: WorkflowBase, value: Any, options: RunOptions) -> WorkflowRun[Any]:
        """Start or join a run; see `Engine.execute`."""
        self._workflows.setdefault(workflow.name, workflow)
        activation = current_activation()
        trigger = CALLED if activation is None else activation.trigger
        run_id = options.run_id
        if run_id is None and activation is not None:
            run_id = activation.next_run_id(workflow.name)
        record, held = new_record(self._ports, workflow, value, run_id, trigger)
        found = await self._begin(workflow, record, held, options, fresh=run_id is None)
        return await self._answer(found, options.wait)

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
        reopening = asyncio.create_task(self._reopen(run_id), name=f"retry {run_id}")
        self._rescues.add(reopening)
        reopening.add_done_callback(self._rescues.discard)
        return await self._asked(await asyncio.shield(reopening), wait=wait)

    async def heed(self) -> None:
        """Take up what other processes asked of the runs of this one."""
        for record in await self._ports.store.cancellations(self._ports.app, self._ports.owner):
            await self._cancel_here(record)

    async def resume(self, owned: Iterable[RunRecord]) -> None:
        """Go on with runs that this process has just claimed; those that wait are woken when they are due."""
        for record in owned:
            await self._resume(record)

    async def drain(self, grace_s: float) -> None:
        """Let what runs finish for `grace_s` seconds, then cancel it; cancelled runs stay resumable.

        Runs may start until the time is up, since those that run may need them; then none does.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + grace_s
        while self._live and loop.time() < until_s:
            await asyncio.wait(self._tasks(), timeout=until_s - loop.time())
        self._closing = True
        for run in list(self._live.values()):
            run.stop = Stop.SHUTDOWN
            if run.task is not None:
                run.task.cancel()
        if self._live:
            _, stubborn = await asyncio.wait(self._tasks(), timeout=_CANCEL_S)
            for task in stubborn:
                log.warning("run_not_cancelled", task=task.get_name())
        self._parking.close(interrupted)

    # --- starting ---

    async def _begin(
        self, workflow: WorkflowBase, record: RunRecord, held: Any, options: RunOptions, *, fresh: bool
    ) -> Execution | WorkflowRun[Any]:
        """Make the start durable, or find the run that has this id already."""
        while not fresh and (other := self._starting.get(record.run_id)) is not None:
            await asyncio.wait([other])
        live = self._live.get(record.run_id)
        if live is not None:
            check_same(live.record, record, workflow, options)
            return live
        if self._closing:
            msg = "This process is stopping and starts no runs any more."
            raise StoreUnavailableError(msg)
        self._starting[record.run_id] = asyncio.get_running_loop().create_future()
        try:
            existing = await self._insert(workflow, record, options)
        except asyncio.CancelledError:
            rescue = asyncio.create_task(self._rescue(workflow, record, held), name=f"rescue {record.run_id}")
            self._rescues.add(rescue)
            rescue.add_done_callback(self._rescues.discard)
            raise
        except BaseException:
            self._started(record)
            raise
        run = self._launch(self._fresh(workflow, record, held)) if existing is None else None
        self._started(record)
        return run or await self._join_stored(existing or record, options)

    async def _insert(self, workflow: WorkflowBase, record: RunRecord, options: RunOptions) -> RunRecord | None:
        """Make the start durable as the run's next attempt, or return the run that answers for it."""
        former: tuple[Write, ...] = ()
        graph = self._graph_write(workflow)
        while await self._ports.store.commit(InsertRun(record), *former, *graph) is Outcome.CONFLICT:
            existing = await self._ports.store.run(self._ports.app, record.run_id)
            if existing is None:
                continue
            check_same(existing, record, workflow, options)
            if existing.status is RunStatus.COMPLETED or not existing.status.ended:
                return existing
            record.attempt = existing.attempt + 1
            former = (RequireEnded(existing.key),)  # a rollback that gave up may be retried meanwhile
        self._graphs.add(workflow.graph.hash)
        return None

    async def _reopen(self, run_id: str) -> RunRecord:
        """Make it durable that a rollback goes on, and go on with it if its workflow is known here."""
        while (other := self._starting.get(run_id)) is not None:
            await asyncio.wait([other])
        self._starting[run_id] = asyncio.get_running_loop().create_future()
        try:
            live = self._live.get(run_id)
            if live is not None and live.task is not None and live.record.status.ended:
                await asyncio.wait([live.task])  # it still closes its services
            record = await reopen(self._ports, run_id, self._workflows, closing=self._closing)
            asked = replace(record)
            if record.owner:
                await self._resume(record)
            return asked
        finally:
            self._starting.pop(run_id).set_result(None)

    def _started(self, record: RunRecord) -> None:
        self._starting.pop(record.run_id).set_result(None)

    def _fresh(self, workflow: WorkflowBase, record: RunRecord, held: Any) -> Execution:
        run = Execution(self._ports, workflow, record, self._scope(workflow, record))
        run.values[0] = held
        return run

    async def _rescue(self, workflow: WorkflowBase, record: RunRecord, held: Any) -> None:
        """Go on with a run whose starter was cancelled while its start was being committed, if it was."""
        fence = FenceRun(record.key, self._ports.owner)  # commits keep their order: this one's outcome tells
        try:
            if await self._ports.store.commit(fence) is Outcome.APPLIED:
                self._launch(self._fresh(workflow, record, held))
        finally:
            self._started(record)

    async def _asked(self, record: RunRecord, *, wait: bool) -> WorkflowRun[Any]:
        """Return a run of which something was asked: as it stands, or at its end."""
        if not wait:
            return await self.get(record.run_id)
        found = self._live.get(record.run_id) or await self._join_stored(record, RunOptions(wait=True))
        return await self._answer(found, wait)

    async def _answer(self, found: Execution | WorkflowRun[Any], wait: bool | None) -> WorkflowRun[Any]:  # noqa: FBT001 - as `run` got it
        """Return a run when it has ended, or as `wait` says; see `RunOptions`."""
        if isinstance(found, WorkflowRun):
            return found
        if wait is False:
            return found.view()
        done: asyncio.Future[WorkflowRun[Any]] = asyncio.get_running_loop().create_future()
        found.waiters.append((done, wait is True))
        return await done

    async def _join_stored(self, existing: RunRecord, options: RunOptions) -> Execution | WorkflowRun[Any]:
        """Wait for a run that another process drives, or that is parked, as `options.wait` says."""
        looked = False
        while not existing.status.ended and options.wait is not False:
            if (live := self._live.get(existing.run_id)) is not None:
                return live
            if options.wait and (held := self._parking.join(existing.run_id)) is not None:
                return await held
            if options.wait is None and self._is_parked(existing):
                break
            if looked:
                await self._ports.clock.sleep(_POLL_S)
            looked = True
            existing = await self._ports.store.run(existing.app, existing.run_id) or existing
        return await self._stored(existing)

    def _is_parked(self, record: RunRecord) -> bool:
        if record.status is RunStatus.WAITING and record.wake_us is None:
            return True
        return record.wake_us is not None and record.wake_us - record.updated_us > self._ports.park_after_s * 1_000_000

    def _graph_write(self, workflow: WorkflowBase) -> tuple[Write, ...]:
        graph = workflow.graph
        return () if graph.hash in self._graphs else (PutGraph(graph.hash, workflow.name, graph.json),)

    def _scope(self, workflow: WorkflowBase, record: RunRecord, trigger: Trigger | None = None) -> RunScope:
        return RunScope(
            container=_NO_CONTAINER,
            app=self._ports.app,
            run_id=record.run_id,
            attempt=record.attempt,
            workflow=workflow.name,
            trigger=trigger or trigger_of(record),
            max_payload_bytes=self._ports.max_payload_bytes,
            options=self._options(workflow.name),
            module=workflow.fn.__module__,
        )

    # --- driving ---

    def _launch(self, run: Execution) -> Execution:
        run_id = run.record.run_id
        self._live[run_id] = run
        run.waiters.extend(self._parking.take(run_id))
        run.task = asyncio.create_task(self._drive(run), name=f"run {run_id}")
        return run

    async def _drive(self, run: Execution) -> None:
        failure: BaseException | None = None
        ids = {"run_id": run.record.run_id, "workflow": run.workflow.name}
        try:
            async with self._containers() as run.scope.container:
                await drive(run)
        except Fenced:
            log.warning("run_taken_over", **ids)
        except asyncio.CancelledError as error:
            failure = error
            if run.stop is not Stop.SHUTDOWN:
                raise
        except Exception as error:  # noqa: BLE001 - one run's trouble must not stop another's
            failure = error
            log.error("run_interrupted", exc_info=error, **ids)
        finally:
            self._settle(run, failure)

    def _settle(self, run: Execution, failure: BaseException | None) -> None:
        """Answer whoever waits for a run that this process does not drive any more."""
        record = run.record
        del self._live[record.run_id]
        if run.emitted:
            self._on_staged()
        ended = run.settled and record.status.ended
        if ended:
            log_end(run)
        waiting: list[Waiter] = []
        for waiter in run.waiters:
            future, to_the_end = waiter
            if future.done():
                continue
            if not run.settled:
                future.set_exception(interrupted(record.run_id, failure))
            elif ended or not to_the_end:
                future.set_result(run.view())
            else:
                waiting.append(waiter)
        if run.settled and not ended and not self._closing:
            self._parking.hold(record.run_id, waiting)
            self._parking.wake_later(record)
            if run.cancelling and record.status is RunStatus.WAITING:  # somebody cancelled it while it was parked
                self._parking.wake_now(record.run_id)

    async def _resume(self, record: RunRecord) -> None:
        workflow = self._workflows.get(record.workflow)
        run_id = record.run_id
        if workflow is None or self._closing or run_id in self._live or run_id in self._resuming:
            return
        self._parking.hold(run_id, [])
        is_cancelled = record.cancel_us is not None
        is_due = record.wake_us is None or record.wake_us <= self._ports.clock.now_us()
        if not is_due and not (is_cancelled and record.status is RunStatus.WAITING):
            self._parking.wake_later(record)
            return
        self._resuming.add(run_id)
        try:
            steps = await self._ports.store.steps([record.key])
            run = Execution(self._ports, workflow, record, self._scope(workflow, record))
            run.restore(steps[record.key])
            if is_cancelled or run_id in self._cancelled:
                run.cancel()
        except Exception as error:  # noqa: BLE001 - one run's trouble must not keep others from going on
            log.error("run_not_resumed", exc_info=error, run_id=run_id, workflow=record.workflow)
            self._parking.drop(run_id, interrupted(run_id, error))
        else:
            self._launch(run)
        finally:
            self._resuming.discard(run_id)
            self._cancelled.discard(run_id)

    async def _cancel_here(self, record: RunRecord) -> None:
        """Cancel a run that is to be cancelled if it is here: driven, waiting, or on its way."""
        run_id = record.run_id
        live, parked = self._live.get(run_id), self._parking.parked(run_id)
        if live is not None and live.record.key == record.key:
            live.cancel()
        elif run_id in self._resuming:
            self._cancelled.add(run_id)
        elif parked is not None and parked.key == record.key:
            parked.cancel_us = record.cancel_us
            await self._resume(parked)

    def _tasks(self) -> Sequence[asyncio.Task[None]]:
        return [run.task for run in self._live.values() if run.task is not None]
