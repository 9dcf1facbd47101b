"""The workflow engine: starts, joins, resumes and shows runs."""

import asyncio
import json
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import svcs

from daemon.activation import Trigger, current_activation
from daemon.clock import new_id, to_us
from daemon.engine.drive import drive
from daemon.engine.execution import Execution, Fenced, Ports, Stop
from daemon.errors import RunExists, RunNotFound, StoreUnavailableError
from daemon.log import get_logger
from daemon.store.model import InsertRun, Outcome, PutGraph, RunFilter, RunRecord, RunStatus, Write
from daemon.workflow.context import RunScope
from daemon.workflow.graph import Graph
from daemon.workflow.port import RunOptions
from daemon.workflow.run import WorkflowRun
from daemon.workflow.workflow import WorkflowBase

log = get_logger("sagad.engine")
_POLL_S = 0.25
_MICROSECOND = timedelta(microseconds=1)
_PAGE_MAX = 200
_NO_CONTAINER = svcs.Container(svcs.Registry())
_CALLED = Trigger("call")
_CALL = json.dumps(asdict(_CALLED)).encode()
Containers = Callable[[], AbstractAsyncContextManager[svcs.Container]]


@dataclass(frozen=True, slots=True)
class RunPage:
    """Runs, newest first, and where the next page begins; `next` is None on the last one."""

    items: list[WorkflowRun[Any]]
    next: str | None


class WorkflowEngine:
    """Starts, joins, resumes and shows the runs of one application.

    Args:
        ports: The store, the clock, and who this process is.
        containers: Opens a scope of services for a run that has no caller.
        options: The table `[options.<workflow>]` by workflow name.
        on_staged: Called after events may have been staged for publication.
    """

    def __init__(
        self,
        ports: Ports,
        *,
        containers: Containers,
        options: Callable[[str], dict[str, Any]] = lambda _: {},
        on_staged: Callable[[], object] = lambda: None,
    ) -> None:
        self._ports = ports
        self._containers = containers
        self._options = options
        self._on_staged = on_staged
        self._workflows: dict[str, WorkflowBase] = {}
        self._live: dict[str, Execution] = {}
        self._starting: dict[str, asyncio.Future[None]] = {}
        self._parked: dict[str, list[tuple[asyncio.Future[WorkflowRun[Any]], bool]]] = {}
        self._graphs: set[str] = set()
        self._waking: set[asyncio.Task[None]] = set()
        self._closing = False

    # --- for applications ---

    async def get(self, run_id: str) -> WorkflowRun[Any]:
        """Return the latest attempt of a run, as it stands.

        Raises:
            RunNotFound: No run has this id.
        """
        live = self._live.get(run_id)
        if live is not None:
            return live.view()
        record = await self._ports.store.run(self._ports.app, run_id)
        if record is None:
            raise RunNotFound(run_id)
        return await self._stored(record)

    async def list(
        self,
        *,
        workflow: str | None = None,
        status: RunStatus | None = None,
        trigger: str | None = None,
        since: datetime | None = None,
        text: str | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> RunPage:
        """Return a page of runs, newest first.

        Args:
            trigger: A trigger's kind (`event`), or kind and name (`event:hello-customer`).
            since: Started at this time or later; aware.
            text: Occurs in the run id, the workflow's name, the input or the errors, ignoring case.
            after: The `next` of the page before.
            limit: At most this many, 1 to 200.
        """
        wanted = RunFilter(workflow, status, trigger, to_us(since) if since is not None else None, text)
        limit = max(1, min(limit, _PAGE_MAX))
        records = await self._ports.store.runs(self._ports.app, wanted, after=after, limit=limit + 1)
        page = records[:limit]
        steps = await self._ports.store.steps([record.key for record in page])
        items = [WorkflowRun(record, steps[record.key], graph=self._graph(record)) for record in page]
        return RunPage(items, page[-1].key if len(records) > limit else None)

    # --- for machinery ---

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

    async def execute(
        self, workflow: WorkflowBase, value: Any, options: RunOptions, container: svcs.Container | None
    ) -> WorkflowRun[Any]:
        """Start or join a run; see `Engine.execute`."""
        self._workflows.setdefault(workflow.name, workflow)
        activation = current_activation()
        run_id = options.run_id or (activation.next_run_id(workflow.name) if activation else None)
        trigger = activation.trigger if activation else Trigger("call")
        record = self._new_record(workflow, value, run_id, trigger)
        found = await self._begin(workflow, record, options, container, fresh=run_id is None)
        if isinstance(found, WorkflowRun):
            return found
        if options.wait is False:
            return found.view()
        done: asyncio.Future[WorkflowRun[Any]] = asyncio.get_running_loop().create_future()
        found.waiters.append((done, options.wait is True))
        return await done

    async def resume(self, owned: Iterable[RunRecord]) -> None:
        """Go on with runs that this process has just claimed; those that wait are woken when they are due."""
        for record in owned:
            workflow = self._workflows.get(record.workflow)
            if workflow is None or record.run_id in self._live:
                continue
            now_us = self._ports.clock.now_us()
            if record.status is RunStatus.WAITING and record.wake_us is not None and record.wake_us > now_us:
                self._wake_later(record)
                continue
            steps = await self._ports.store.steps([record.key])
            run = Execution(self._ports, workflow, record, self._scope(workflow, record, None))
            run.restore(steps[record.key])
            self._launch(run, None)

    async def drain(self, grace_s: float) -> None:
        """Let what runs finish for `grace_s` seconds, then cancel it; cancelled runs stay resumable."""
        self._closing = True
        tasks = [run.task for run in self._live.values() if run.task is not None]
        if tasks and grace_s > 0:
            await asyncio.wait(tasks, timeout=grace_s)
        for run in list(self._live.values()):
            if run.task is not None and not run.task.done():
                run.stop = run.stop or Stop.SHUTDOWN
                run.task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # --- starting ---

    def _new_record(self, workflow: WorkflowBase, value: Any, run_id: str | None, trigger: Trigger) -> RunRecord:
        now_us = self._ports.clock.now_us()
        key = new_id(now_us)
        codec = workflow.graph.input
        what = f"the input of workflow {workflow.name!r}"
        data = codec.hold(value, self._ports.max_payload_bytes, what)[0] if codec is not None else None
        deadline_us = now_us + workflow.timeout // _MICROSECOND if workflow.timeout is not None else None
        return RunRecord(
            key=key,
            app=self._ports.app,
            run_id=run_id or key,
            attempt=1,
            workflow=workflow.name,
            status=RunStatus.RUNNING,
            trigger=_trigger_json(trigger),
            input=data,
            graph_hash=workflow.graph.hash,
            owner=self._ports.owner,
            created_us=now_us,
            updated_us=now_us,
            deadline_us=deadline_us,
        )

    async def _begin(
        self,
        workflow: WorkflowBase,
        record: RunRecord,
        options: RunOptions,
        container: svcs.Container | None,
        *,
        fresh: bool,
    ) -> Execution | WorkflowRun[Any]:
        """Make the start durable, or find the run that has this id already."""
        if self._closing:
            msg = "This process is stopping and starts no runs any more."
            raise StoreUnavailableError(msg)
        while not fresh and (other := self._starting.get(record.run_id)) is not None:
            await asyncio.wait([other])
        live = self._live.get(record.run_id)
        if live is not None:
            _check_same(live.record, record, options)
            return live
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._starting[record.run_id] = started
        try:
            while await self._ports.store.commit(InsertRun(record), *self._graph_write(workflow)) is Outcome.CONFLICT:
                existing = await self._ports.store.run(self._ports.app, record.run_id)
                if existing is None:
                    continue
                _check_same(existing, record, options)
                if existing.status is RunStatus.COMPLETED or not existing.status.ended:
                    return await self._join_stored(existing, options)
                record.attempt = existing.attempt + 1
            self._graphs.add(workflow.graph.hash)
            run = Execution(self._ports, workflow, record, self._scope(workflow, record, container))
            if workflow.graph.input is not None and record.input is not None:
                run.values[0] = workflow.graph.input.restore(record.input)
            self._launch(run, container)
            return run
        finally:
            del self._starting[record.run_id]
            started.set_result(None)

    async def _join_stored(self, existing: RunRecord, options: RunOptions) -> WorkflowRun[Any]:
        """Wait for a run that another process drives, or that is parked, as `options.wait` says."""
        while True:
            waits = not existing.status.ended and options.wait is not False
            if not waits or (existing.status is RunStatus.WAITING and options.wait is None):
                return await self._stored(existing)
            await self._ports.clock.sleep(_POLL_S)
            again = await self._ports.store.run(existing.app, existing.run_id)
            existing = again or existing

    def _graph_write(self, workflow: WorkflowBase) -> tuple[Write, ...]:
        graph = workflow.graph
        return () if graph.hash in self._graphs else (PutGraph(graph.hash, workflow.name, graph.json),)

    def _scope(self, workflow: WorkflowBase, record: RunRecord, container: svcs.Container | None) -> RunScope:
        return RunScope(
            container=container or _NO_CONTAINER,
            app=self._ports.app,
            run_id=record.run_id,
            attempt=record.attempt,
            workflow=workflow.name,
            trigger=Trigger(**json.loads(record.trigger)),
            options=self._options(workflow.name),
        )

    # --- driving ---

    def _launch(self, run: Execution, container: svcs.Container | None) -> None:
        self._live[run.record.run_id] = run
        run.waiters.extend(self._parked.pop(run.record.run_id, ()))
        run.task = asyncio.create_task(self._drive(run, container), name=f"run {run.record.run_id}")

    async def _drive(self, run: Execution, container: svcs.Container | None) -> None:
        failure: BaseException | None = None
        try:
            if container is not None:
                await drive(run)
            else:
                async with self._containers() as run.scope.container:
                    await drive(run)
        except Fenced:
            log.warning("run_taken_over", run_id=run.record.run_id, workflow=run.workflow.name)
        except asyncio.CancelledError as error:
            failure = error
            if run.stop is not Stop.SHUTDOWN:
                raise
        except Exception as error:
            failure = error
            log.exception("run_interrupted", run_id=run.record.run_id, workflow=run.workflow.name)
        finally:
            self._settle(run, failure)

    def _settle(self, run: Execution, failure: BaseException | None) -> None:
        """Answer whoever waits for a run that this process does not drive any more."""
        record = run.record
        del self._live[record.run_id]
        parked = record.status is RunStatus.WAITING
        view = run.view()
        if record.status.ended:
            _log_end(view)
            if any(step.events for step in run.steps.values()):
                self._on_staged()
        for waiter, to_the_end in run.waiters:
            if waiter.done():
                continue
            if parked and to_the_end:
                self._parked.setdefault(record.run_id, []).append((waiter, to_the_end))
            elif record.status.ended or parked:
                waiter.set_result(view)
            else:
                waiter.set_exception(_interrupted(record, failure))
        if parked:
            self._wake_later(record)

    def _wake_later(self, record: RunRecord) -> None:
        if record.wake_us is not None and not self._closing:
            delay_s = max(0, record.wake_us - self._ports.clock.now_us()) / 1_000_000
            self._ports.clock.call_later(delay_s, lambda: self._wake(record))

    def _wake(self, record: RunRecord) -> None:
        if not self._closing:
            task = asyncio.get_running_loop().create_task(self.resume([record]), name=f"wake {record.run_id}")
            self._waking.add(task)
            task.add_done_callback(self._waking.discard)

    # --- reading ---

    async def _stored(self, record: RunRecord) -> WorkflowRun[Any]:
        steps = await self._ports.store.steps([record.key])
        return WorkflowRun(record, steps[record.key], graph=self._graph(record))

    def _graph(self, record: RunRecord) -> Graph | None:
        """Return the graph that decodes a run's values here, if its workflow still has the one it was started with."""
        workflow = self._workflows.get(record.workflow)
        return workflow.graph if workflow is not None and workflow.graph.hash == record.graph_hash else None


def _check_same(existing: RunRecord, wanted: RunRecord, options: RunOptions) -> None:
    """Raise `RunExists` unless the existing run may answer for the wanted one."""
    if existing.workflow != wanted.workflow:
        raise RunExists(wanted.run_id, f"it belongs to workflow {existing.workflow!r}.")
    if existing.input != wanted.input:
        raise RunExists(wanted.run_id, f"it is a run of {existing.workflow!r} with another input.")
    if options.on_existing == "reject":
        raise RunExists(wanted.run_id, f"it is a run of {existing.workflow!r} that is {existing.status}.")


def _interrupted(record: RunRecord, failure: BaseException | None) -> BaseException:
    error = StoreUnavailableError(f"Run {record.run_id!r} was interrupted here; it goes on where it stands.")
    error.__cause__ = failure
    return error


def _trigger_json(trigger: Trigger) -> bytes:
    return _CALL if trigger == _CALLED else json.dumps(asdict(trigger)).encode()


def _log_end(run: WorkflowRun[Any]) -> None:
    record = run.record
    fields: dict[str, Any] = {
        "workflow": record.workflow,
        "run_id": record.run_id,
        "attempt": record.attempt,
        "outcome": record.status.value,
        "duration_ms": round(((record.ended_us or record.updated_us) - record.created_us) / 1000, 1),
    }
    if run.errors:
        last = run.errors[-1].attempts[-1]
        fields |= {"error": last.type, "reason": last.message, "compensated": run.compensated}
    log.info("run_finished", **fields)
