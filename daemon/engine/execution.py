"""One run while this process drives it: its values, its checkpoints, and what is not yet durable."""

import asyncio
import hashlib
import json
import traceback as tracebacks
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from daemon.activation import Trigger
from daemon.clock import Clock, from_us
from daemon.events.model import Envelope, Event, encode_event, pack, unpack
from daemon.store.model import (
    FenceRun,
    Outcome,
    OutgoingEvent,
    PutStep,
    RunRecord,
    RunStatus,
    StageEvent,
    StepRecord,
    StepState,
    Store,
    UpdateRun,
    Write,
)
from daemon.workflow.context import RunScope, StepContext
from daemon.workflow.graph import StepNode
from daemon.workflow.run import WorkflowRun
from daemon.workflow.workflow import WorkflowBase

_TRACEBACK_MAX = 8192
IN_DOUBT = "StepInDoubt"


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
    cleared.
    """

    __slots__ = (
        "cause",
        "errors",
        "failing",
        "pending",
        "ports",
        "record",
        "scope",
        "seq",
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
        self.pending: list[Write] = []
        self.errors: list[dict[str, Any]] = []
        self.cause: BaseException | None = None
        self.failing = False
        self.stop: Stop | None = None
        self.task: asyncio.Task[None] | None = None
        self.seq = 0
        self.undone = 0
        self.waiters: list[tuple[asyncio.Future[WorkflowRun[Any]], bool]] = []

    def restore(self, steps: Sequence[StepRecord]) -> None:
        """Take over the stored checkpoints of a run that this process did not start."""
        nodes = {node.name: node for node in self.workflow.graph.steps()}
        for step in steps:
            self.steps[step.name] = step
            self.seq = max(self.seq, step.seq)
            self.undone = max(self.undone, step.done_seq or 0)
            node = nodes.get(step.name)
            if node is not None and step.output is not None:
                self.values[node.slot] = node.step.definition.output.restore(step.output)
        self.errors = json.loads(self.record.errors)
        if self.record.input is not None and self.workflow.graph.input is not None:
            self.values[0] = self.workflow.graph.input.restore(self.record.input)

    async def flush(self) -> None:
        """Make what is pending durable. Raises `Fenced` if the run was taken over."""
        writes, self.pending = self.pending, []
        if await self.ports.store.commit(FenceRun(self.record.key, self.ports.owner), *writes) is not Outcome.APPLIED:
            raise Fenced

    async def put_run(self) -> None:
        """Make the run's row durable, and with it what is pending. Raises `Fenced` if the run was taken over."""
        record = self.record
        record.updated_us = self.ports.clock.now_us()
        if self.errors:
            record.errors = json.dumps(self.errors).encode()
        writes, self.pending = self.pending, []
        if await self.ports.store.commit(UpdateRun(record), *writes) is not Outcome.APPLIED:
            raise Fenced

    def begin(self, node: StepNode, argument: bytes | None) -> StepRecord:
        """Return the checkpoint of a step that starts now, or goes on with its next attempt."""
        record = self.steps.get(node.name)
        if record is None:
            self.seq += 1
            now_us = self.ports.clock.now_us()
            record = StepRecord(self.record.key, node.name, self.seq, "step", StepState.RUNNING, 0, now_us, argument)
            self.steps[node.name] = record
        return record

    def failures(self, record: StepRecord) -> list[dict[str, Any]]:
        """Return the failed attempts in a checkpoint."""
        found: list[dict[str, Any]] = json.loads(record.failures)
        return found

    def due_us(self, record: StepRecord) -> int:
        """Return when the next attempt of a step that waits for one is due."""
        failures = self.failures(record)
        return int(failures[-1].get("again_us", 0)) if failures else 0

    def failure(self, record: StepRecord, error: BaseException, *, again_us: int | None = None) -> None:
        """Note a failed attempt in its step's checkpoint."""
        failures = json.loads(record.failures)
        failures.append(describe_error(error, self.ports.clock.now_us()))
        if again_us is not None:
            failures[-1]["again_us"] = again_us
        record.failures = json.dumps(failures).encode()

    def give_up(self, name: str, phase: str, attempts: list[dict[str, Any]], cause: BaseException | None) -> None:
        """Note a final failure: of a step, a transform, the run itself, or a compensation."""
        self.errors.append({"step": name, "phase": phase, "attempts": attempts})
        if self.cause is None:
            self.cause = cause

    def fail(self, name: str, error: BaseException, record: StepRecord | None = None) -> None:
        """Note a final failure of a step (with its checkpoint), a transform, or the run itself."""
        attempts = self.failures(record) if record else [describe_error(error, self.ports.clock.now_us())]
        self.give_up(name, "invoke", attempts, error)
        self.failing = True

    def put(self, record: StepRecord) -> None:
        """Have a checkpoint written with the next commit."""
        self.pending.append(PutStep(record))

    def keep_staged(self, record: StepRecord, ctx: StepContext) -> None:
        """Keep what a successful attempt emitted with its checkpoint; immediate ones leave with the next commit."""
        kept: list[str] = []
        for index, (event, immediately) in enumerate(ctx.staged):
            message = self._message(event, f"{ctx.idempotency_key}:{index}")
            if immediately:
                self.pending.append(StageEvent(self._outgoing(message, record.seq * 1000 + index)))
            else:
                kept.append(message.decode())
        record.events = json.dumps(kept).encode()

    def release_staged(self) -> None:
        """Have every event that the steps staged published with the next commit: the run has completed."""
        order = 0
        for record in sorted((step for step in self.steps.values() if step.events), key=lambda step: step.seq):
            for message in json.loads(record.events):
                order += 1
                self.pending.append(StageEvent(self._outgoing(message.encode(), order)))

    def view(self) -> WorkflowRun[Any]:
        """Return the run as it stands, for whoever asked for it."""
        return WorkflowRun(self.record, list(self.steps.values()), graph=self.workflow.graph, cause=self.cause)

    def _message(self, event: Event, seed: str) -> bytes:
        trigger: Trigger = self.scope.trigger
        cause = None
        if trigger.correlation_id is not None:
            is_event = trigger.kind == "event"
            at = from_us(self.record.created_us)
            cause = Envelope(trigger.id if is_event else "", "", at, "", trigger.correlation_id)
        event_id = hashlib.sha256(seed.encode()).hexdigest()[:26].upper()
        message = encode_event(event, source=self.ports.app, now_us=self.ports.clock.now_us(), id=event_id, cause=cause)
        return pack(message)

    def _outgoing(self, packed: bytes, seq: int) -> OutgoingEvent:
        envelope = unpack(packed).envelope
        return OutgoingEvent(envelope.id, self.ports.app, self.record.key, seq, packed, self.ports.clock.now_us())

    def finish(self, status: RunStatus) -> None:
        """Give the run's row its end; `put_run` makes it durable."""
        self.record.status = status
        self.record.ended_us = self.ports.clock.now_us()
        self.record.wake_us = None
        self.record.waiting_for = ""


def describe_error(error: BaseException, at_us: int) -> dict[str, Any]:
    """Return a failed attempt as it is stored; its text is the application's own."""
    kind = type(error)
    name = (
        kind.__qualname__
        if kind.__module__ in ("builtins", "daemon.errors")
        else f"{kind.__module__}.{kind.__qualname__}"
    )
    shown = "".join(tracebacks.format_exception(error, limit=-20)) if error.__traceback__ is not None else ""
    return {"at_us": at_us, "type": name, "message": str(error)[:_TRACEBACK_MAX], "traceback": shown[-_TRACEBACK_MAX:]}
