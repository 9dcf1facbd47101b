"""One run while this process drives it: its values, its checkpoints, and what is not yet durable."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Any

from pydantic_core import to_json

from daemon.clock import Clock
from daemon.engine.computed import recall
from daemon.engine.failures import INVOKE, describe_error
from daemon.engine.loops import item_named
from daemon.log import get_logger
from daemon.store.model import RunRecord, RunStatus, StepRecord, StepState
from daemon.store.port import Store
from daemon.store.writes import FenceRun, Outcome, PutStep, UpdateRun, Write
from daemon.workflow.context import RunScope
from daemon.workflow.nodes import StepNode
from daemon.workflow.run import WorkflowRun
from daemon.workflow.workflow import WorkflowBase

log = get_logger(__name__)
_DEBUG = 10
_DURABLE_WAIT_S = 1.0


class Failed(Exception):  # noqa: N818 - control flow inside the engine
    """A node has finally failed; what and why is in the execution already."""


class Fenced(Exception):  # noqa: N818 - control flow inside the engine
    """Another process owns the run now: drop it, and undo nothing."""


class Parked(Exception):  # noqa: N818 - control flow inside the engine
    """The run waits for longer than a task should: let go of it.

    Attributes:
        wake_us: When it is due.
        waiting_for: What for, in words.
    """

    def __init__(self, wake_us: int, waiting_for: str) -> None:
        self.wake_us = wake_us
        self.waiting_for = waiting_for
        super().__init__(waiting_for)


class Stop(StrEnum):
    """Why a run's task is cancelled."""

    SHUTDOWN = "shutdown"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class Ports:
    """What an execution needs of the world.

    Attributes:
        max_payload_bytes: The longest JSON of one value.
        park_after_s: Longer waits than this are not waited for in a task.
    """

    store: Store
    clock: Clock
    app: str
    owner: str
    max_payload_bytes: int
    park_after_s: float


class Execution:
    """One attempt of a run, driven by one task of this process.

    Invariants: `pending` holds, in order, what is decided and not yet submitted; an effectful step starts only when
    `pending` is empty and its commit was not fenced; `failing` is set before the first step is undone and never
    cleared; `settled` is set only once the run's end, or its being parked, is durable.

    Attributes:
        failures: The failed attempts of both phases, by step.
        undone: How many steps were undone.
        abreast: Whether members of a parallel group are running.
        emitted: Whether a step emitted events.
        items: For each loop that was begun, its calls by index.
        known: Slots whose stored decisions and results of transforms are in the values.
        resumed: Whether another process began it, and may have left a step half done.
        sleepers: Whoever waits for a retry; woken when the run begins to fail.
        waiters: Whoever waits for the run, and whether to its end or until it is parked.
        is_debugged: Whether debug lines are written at all.
    """

    __slots__ = (
        "_ahead",
        "_fence",
        "_stale",
        "abreast",
        "cause",
        "emitted",
        "errors",
        "failing",
        "failures",
        "is_debugged",
        "items",
        "known",
        "pending",
        "ports",
        "record",
        "resumed",
        "scope",
        "seq",
        "settled",
        "sleepers",
        "steps",
        "stop",
        "task",
        "undone",
        "values",
        "waiters",
        "workflow",
    )

    def __init__(self, ports: Ports, workflow: WorkflowBase, record: RunRecord, scope: RunScope) -> None:
        self.ports = ports
        self.workflow = workflow
        self.record = record
        self.scope = scope
        self.values: list[Any] = [None] * workflow.graph.slots
        self.steps: dict[str, StepRecord] = {}
        self.failures: dict[str, list[dict[str, Any]]] = {}
        self.pending: list[Write] = []
        self.known: set[int] = set()
        self.items: dict[str, dict[int, StepNode]] = {}
        self._ahead: list[Write] = []
        self.errors: list[dict[str, Any]] = []
        self.cause: BaseException | None = None
        self.failing = False
        self.abreast = False
        self.emitted = False
        self.resumed = False
        self.settled = False
        self.stop: Stop | None = None
        self.task: asyncio.Task[None] | None = None
        self.seq = 0
        self.undone = 0
        self.sleepers: set[asyncio.Future[None]] = set()
        self.waiters: list[tuple[asyncio.Future[WorkflowRun[Any]], bool]] = []
        self.is_debugged = log.is_enabled_for(_DEBUG)
        self._fence = FenceRun(record.key, ports.owner)
        self._stale = False

    def restore(self, steps: Sequence[StepRecord]) -> None:
        """Take over the stored input and checkpoints of a run that is resumed."""
        codec = self.workflow.graph.input
        if codec is not None and self.record.input is not None:
            self.values[0] = codec.restore(self.record.input)
        nodes = self.workflow.graph.by_name
        for step in steps:
            if step.kind != "step":
                recall(self, step)
                continue
            self.steps[step.name] = step
            self.failures[step.name] = json.loads(step.failures)
            self.seq = max(self.seq, step.seq)
            self.undone = max(self.undone, step.done_seq or 0)
            node = nodes.get(step.name) or item_named(self, step.name)
            if isinstance(node, StepNode) and step.output is not None:
                self.values[node.slot] = node.step.definition.output.restore(step.output)
        self.errors = json.loads(self.record.errors)
        self.resumed = self.record.status is RunStatus.RUNNING
        noted = {error["step"] for error in self.errors if error["phase"] == INVOKE}
        for step in steps:
            if step.state is StepState.FAILED:
                self.failing = True
                if step.name not in noted:
                    self.fail_step(step.name, None)
        if self.record.wake_us is not None:
            self.record.wake_us, self.record.waiting_for, self._stale = None, "", True

    # --- what becomes durable ---

    async def flush(self) -> None:
        """Make what is pending durable. Raises `Fenced` if the run was taken over."""
        if self._stale:
            await self.put_run()
            return
        if await self.ports.store.commit(self._fence, *self._writes()) is not Outcome.APPLIED:
            raise Fenced

    async def put_run(self) -> None:
        """Make the run's row durable, and with it what is pending. Raises `Fenced` if the run was taken over."""
        record = self.record
        record.updated_us = self.ports.clock.now_us()
        if self.errors:
            record.errors = to_json(self.errors)
        self._stale = False
        if await self.ports.store.commit(UpdateRun(record), *self._writes()) is not Outcome.APPLIED:
            raise Fenced

    def _writes(self) -> list[Write]:
        writes, self.pending = self.pending, []
        if self._ahead:
            writes, self._ahead = [*self._ahead, *writes], []
        return writes

    def put_computed(self, record: StepRecord) -> None:
        """Have a decision or a transform's result written with the preceding step's checkpoint.

        Without one it waits for the first that there is: no step waits for it, since it may be evaluated again.
        """
        (self.pending if self.steps else self._ahead).append(PutStep(record))

    def put(self, record: StepRecord) -> None:
        """Have a checkpoint written with the next commit."""
        failures = self.failures.get(record.name)
        if failures:
            record.failures = to_json(failures)
        self.pending.append(PutStep(record))

    def set_status(self, status: RunStatus, wake_us: int | None = None, waiting_for: str = "") -> None:
        """Note where the run stands; the next commit writes it."""
        record = self.record
        if (record.status, record.wake_us, record.waiting_for) != (status, wake_us, waiting_for):
            record.status, record.wake_us, record.waiting_for = status, wake_us, waiting_for
            self._stale = True

    def finish(self, status: RunStatus) -> None:
        """Give the run's row its end; `put_run` makes it durable."""
        self.set_status(status)
        self.record.ended_us = self.ports.clock.now_us()

    # --- steps and failures ---

    def begin(self, node: StepNode, argument: bytes | None) -> StepRecord:
        """Return the checkpoint of a step that starts now, or goes on with its next attempt."""
        record = self.steps.get(node.name)
        if record is None:
            self.seq += 1
            now_us = self.ports.clock.now_us()
            record = StepRecord(self.record.key, node.name, self.seq, "step", StepState.RUNNING, 0, now_us, argument)
            self.steps[node.name] = record
        return record

    def end(self, record: StepRecord, state: StepState) -> None:
        """Give a step its outcome."""
        record.state = state
        record.ended_us = self.ports.clock.now_us()
        self.put(record)

    def note_failure(
        self, step: str, error: BaseException, *, phase: str = INVOKE, again_us: int | None = None
    ) -> None:
        """Note a failed attempt, and when there will be another one."""
        failure = describe_error(error, self.ports.clock.now_us())
        failure["phase"] = phase
        if again_us is not None:
            failure["again_us"] = again_us
        self.failures.setdefault(step, []).append(failure)

    def is_long(self, wait_s: float) -> bool:
        """Tell whether a wait is written down; a shorter one is repeated after a crash."""
        return wait_s >= min(_DURABLE_WAIT_S, self.ports.park_after_s)

    def failures_of(self, step: str, phase: str) -> list[dict[str, Any]]:
        """Return the failed attempts of a step, or of its compensation."""
        return [failure for failure in self.failures.get(step, ()) if failure["phase"] == phase]

    def give_up(self, name: str, phase: str, attempts: list[dict[str, Any]], cause: BaseException | None) -> None:
        """Note a final failure: of a step, a transform, the run itself, or a compensation."""
        self.errors.append({"step": name, "phase": phase, "attempts": attempts})
        self._stale = True
        if self.cause is None:
            self.cause = cause

    def fail(self, name: str, error: BaseException) -> None:
        """Note a final failure of a transform, or of the run itself; from now on nothing new starts."""
        self._fail(name, [describe_error(error, self.ports.clock.now_us())], error)

    def fail_step(self, name: str, error: BaseException | None) -> None:
        """Note the final failure of a step whose attempts are noted; from now on nothing new starts."""
        self._fail(name, self.failures_of(name, INVOKE), error)

    def _fail(self, name: str, attempts: list[dict[str, Any]], error: BaseException | None) -> None:
        self.give_up(name, INVOKE, attempts, error)
        self.failing = True
        for sleeper in self.sleepers:
            _wake(sleeper)

    @property
    def cancelling(self) -> bool:
        """Whether somebody asked to cancel it: its rollback ends `cancelled`."""
        return self.record.cancel_us is not None

    def cancel(self) -> None:
        """Have nothing new start, and what is done undone once what runs has ended; a rollback just goes on."""
        if self.record.cancel_us is None:
            self.record.cancel_us = self.ports.clock.now_us()
        if not self.failing:
            self.failing = True
            for sleeper in self.sleepers:
                _wake(sleeper)

    async def wait_until(self, due_us: int, waiting_for: str) -> None:
        """Wait for a retry, at most until the run begins to fail. Raises `Parked` if that is far off."""
        left_s = (due_us - self.ports.clock.now_us()) / 1_000_000
        if left_s > self.ports.park_after_s:
            raise Parked(due_us, waiting_for)
        if left_s <= 0:
            return
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sleepers.add(sleeper)
        timer = self.ports.clock.call_later(left_s, partial(_wake, sleeper))
        try:
            await sleeper
        finally:
            timer.cancel()
            self.sleepers.discard(sleeper)

    # --- for whoever asks ---

    def view(self) -> WorkflowRun[Any]:
        """Return the run as it stands; what happens to it later does not change what was returned."""
        graph, steps = self.workflow.graph, list(self.steps.values())
        if self.settled and self.record.status.ended:
            return WorkflowRun(self.record, steps, graph=graph, cause=self.cause)
        errors = to_json(self.errors)
        record = replace(self.record, errors=errors)
        return WorkflowRun(record, [replace(step) for step in steps], graph=graph, cause=self.cause)


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)
