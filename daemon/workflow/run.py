"""What a run looks like from outside: its status, result, errors, steps and what was undone."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from operator import attrgetter
from typing import Any, Generic, Literal

from pydantic_core import from_json
from typing_extensions import TypeVar

from daemon.activation import Trigger
from daemon.clock import from_us
from daemon.errors import RemoteError, RunNotCompleted, WorkflowFailed
from daemon.store.model import RunRecord, RunStatus, StepRecord, StepState
from daemon.workflow.codec import Codec
from daemon.workflow.graph import Graph
from daemon.workflow.nodes import ChildNode, HookNode, LoopNode, StepNode, WaitNode
from daemon.workflow.showing import run_json

_seq_of = attrgetter("seq")
SHOWN = frozenset({"step", "child", "sleep", "wait"})  # the kinds of checkpoints that count as steps of a run
IN_DOUBT = "StepInDoubt"  # the type of an attempt of which nobody knows whether it did something
Out_co = TypeVar("Out_co", covariant=True, default=Any)


@dataclass(frozen=True, slots=True)
class AttemptError:
    """One failed attempt.

    Attributes:
        time: When it failed; aware.
        type: Qualified name of the exception's type.
        message: The exception's text.
        traceback: As Python prints it; may be empty.
    """

    time: datetime
    type: str
    message: str
    traceback: str = ""

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type


@dataclass(frozen=True, slots=True)
class StepError:
    """A step that finally failed, or its compensation.

    Attributes:
        step: The step's name; a transform's own name; the workflow's, if the run itself timed out.
        phase: `invoke` or `compensate`.
        attempts: Every failed attempt, first to last.
        tolerated: The run went on regardless, as the step's `on_failure` says.
        child: The run id of the child that it happened in; empty: in the run itself.
    """

    step: str
    phase: str
    attempts: tuple[AttemptError, ...]
    tolerated: bool = False
    child: str = ""

    def __str__(self) -> str:
        return str(self.attempts[-1]) if self.attempts else f"{self.step} failed"


@dataclass(frozen=True, slots=True)
class StepRun:
    """One step of a run.

    Attributes:
        input, output: Of their declared types, as far as the workflow is known here, else plain data; None before.
        attempts: How many attempts were started.
    """

    name: str
    state: StepState
    input: Any
    output: Any
    attempts: int
    started_at: datetime
    ended_at: datetime | None


def attempts_of(stored: Sequence[Mapping[str, Any]]) -> tuple[AttemptError, ...]:
    """Return stored failed attempts as objects."""
    return tuple(AttemptError(from_us(a["at_us"]), a["type"], a["message"], a.get("traceback", "")) for a in stored)


class WorkflowRun(Generic[Out_co]):
    """A run as it stood when this was made; ask the engine again for how it goes on.

    Attributes:
        record: The stored row; for machinery.
    """

    def __init__(
        self,
        record: RunRecord,
        steps: Sequence[StepRecord],
        *,
        graph: Graph | None,
        cause: BaseException | None = None,
    ) -> None:
        self.record = record
        self._steps = steps
        self._graph = graph
        self._cause = cause

    def __repr__(self) -> str:
        return f"<run {self.run_id!r} of {self.workflow}: {self.status}>"

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.record.run_id

    @property
    def workflow(self) -> str:
        """The workflow's name."""
        return self.record.workflow

    @property
    def status(self) -> RunStatus:
        """Where it stands."""
        return self.record.status

    @property
    def attempt(self) -> int:
        """Which attempt of this run id it is; 1 is the first."""
        return self.record.attempt

    @property
    def waiting_for(self) -> str:
        """What a waiting run waits for, in words; else empty."""
        return self.record.waiting_for

    @property
    def trigger(self) -> Trigger:
        """What started it."""
        return Trigger(**json.loads(self.record.trigger))

    @property
    def created_at(self) -> datetime:
        """When it was started; aware, UTC."""
        return from_us(self.record.created_us)

    @property
    def updated_at(self) -> datetime:
        """When it last changed; aware, UTC."""
        return from_us(self.record.updated_us)

    @cached_property
    def input(self) -> Any:
        """What it was started with, of its declared type if the workflow is known here."""
        if self.record.input is None:
            return None
        codec = self._graph.input if self._graph is not None else None
        return codec.decode(self.record.input) if codec is not None else json.loads(self.record.input)

    @cached_property
    def result(self) -> Out_co:
        """The decoded output, of the declared type.

        Raises:
            RunNotCompleted: The run has not completed (yet).
        """
        if self.status is not RunStatus.COMPLETED:
            raise RunNotCompleted(self.run_id, self.workflow, self.status)
        found: Any = None
        if self.record.result is not None:
            graph = self._graph
            found = json.loads(self.record.result) if graph is None else graph.decode_result(self.record.result)
        return found  # type: ignore[no-any-return]

    @cached_property
    def errors(self) -> list[StepError]:
        """What finally failed, in order."""
        return [
            StepError(e["step"], e["phase"], attempts_of(e["attempts"]), e.get("tolerated", False), e.get("child", ""))
            for e in _loaded(self.record.errors)
        ]

    @cached_property
    def steps(self) -> dict[str, StepRun]:
        """Every step that was started, by name, in the order of their start; children, timers and waits are, too."""
        return {
            step.name: StepRun(
                step.name,
                step.state,
                None if step.input is None else self._decoded(step, "input", step.input),
                None if step.output is None else self._decoded(step, "output", step.output),
                step.attempts,
                from_us(step.started_us),
                None if step.ended_us is None else from_us(step.ended_us),
            )
            for step in self._shown()
        }

    def _shown(self) -> list[StepRecord]:
        return sorted([step for step in self._steps if step.kind in SHOWN], key=_seq_of)

    def _decoded(self, step: StepRecord, what: Literal["input", "output"], data: bytes) -> Any:
        """Return a step's value, of its declared type if the workflow is known here."""
        nodes = self._graph.by_name if self._graph is not None else {}
        node = nodes.get(step.name.partition("[")[0])  # `step[0]` is a call of `step`
        called = node.step if isinstance(node, (StepNode, LoopNode)) else None
        if isinstance(node, HookNode) and self._graph is not None:
            called = next((each for each in self._graph.handlers.get(node.name, ()) if each.name == step.name), None)
        if called is not None:
            codec = called.definition.input if what == "input" else called.definition.output
            return codec.decode(data)
        if isinstance(node, ChildNode):
            graph = node.workflow.graph
            if what == "output":
                return graph.decode_result(data)
            return graph.input.decode(data) if graph.input is not None else None
        if isinstance(node, WaitNode):
            return Codec(node.event).decode(data)
        return json.loads(data)

    @cached_property
    def compensated(self) -> list[str]:
        """Names of the steps that were really undone, in the order it happened."""
        undone = [step for step in self._steps if step.done_seq is not None]
        return [step.name for step in sorted(undone, key=lambda step: step.done_seq or 0)]

    def failure(self) -> WorkflowFailed:
        """Return the exception that tells of a run that ended without a result, its cause attached."""
        failed = WorkflowFailed(self, failure_sentence(self))
        decisive = next((error for error in self.errors if not error.tolerated), None)
        first = decisive.attempts[-1] if decisive is not None and decisive.attempts else None
        failed.__cause__ = self._cause or (RemoteError(first.type, first.message, first.traceback) if first else None)
        return failed

    def to_json(self) -> dict[str, Any]:
        """Return the run as every interface shows it: plain data, the steps by name in the order of their start."""
        return _loaded(self.as_json())  # type: ignore[no-any-return]

    def as_json(self) -> bytes:
        """Return the same as JSON, in UTF-8; for the many on a page it is four times as fast."""
        return run_json(self.record, self._shown(), self.compensated)


def failure_sentence(run: WorkflowRun[Any]) -> str:
    """Say in one sentence which run failed, where, why, and what was rolled back."""
    said = f"Workflow {run.workflow!r} (run {run.run_id!r}) "
    first = next((error for error in run.errors if error.phase == "invoke" and not error.tolerated), None)
    if run.status is RunStatus.CANCELLED:
        said += "was cancelled"
    elif first is not None:
        said += f"failed at {first.step!r}{_after(first)}: {_clause(first)}"
    else:
        said += "failed"
    said += f"; rolled back: {', '.join(run.compensated) or 'nothing'}"
    if run.status is RunStatus.FAILED:
        left = [_left_undone(error) for error in run.errors if error.phase == "compensate"]
        said += f"; ROLLBACK INCOMPLETE: {'; '.join(left) or 'see its errors'}"
    return " ".join(said.split()) + "."


def _after(error: StepError) -> str:
    """Return after how many attempts a step failed; a run's own timeout has none."""
    count = len(error.attempts)
    if count == 0 or error.attempts[-1].type == "RunTimeout":
        return ""
    return f" after {count} attempt{'s' if count > 1 else ''}"


def _clause(error: StepError) -> str:
    """Return what an error says, as a part of a sentence that goes on."""
    said = str(error)
    return said if said.endswith("..") else said.removesuffix(".")


def _left_undone(error: StepError) -> str:
    if error.attempts and error.attempts[-1].type == IN_DOUBT:
        return error.attempts[-1].message
    return f"the compensation of {error.step} failed{_after(error)}: {_clause(error)}"


def _loaded(data: bytes) -> Any:
    """Return what a JSON says, in a third of the time that `json` takes."""
    try:
        return from_json(data)
    except ValueError:  # half a surrogate pair, or many brackets
        return json.loads(data)
