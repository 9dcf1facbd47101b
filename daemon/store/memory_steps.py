"""Checkpoints in this process's memory, and which of them wait for a signal."""

from collections.abc import Iterator
from dataclasses import fields
from operator import attrgetter
from typing import Any

from daemon.store.memory_runs import Undo
from daemon.store.model import StepRecord, StepState
from daemon.store.writes import Outcome, PutStep, RequireAwaiting

# Kept as tuples, as runs are.
_STEP = tuple(each.name for each in fields(StepRecord))
_RUN_KEY = _STEP.index("run_key")
_NAME = _STEP.index("name")
_AWAITS = _STEP.index("awaits")
_step_values = attrgetter(*(f"{name}._value_" if name == "state" else name for name in _STEP))


class MemorySteps:
    """Checkpoints by their run's key and their name. What it hands out are copies."""

    def __init__(self) -> None:
        self._steps: dict[str, dict[str, tuple[Any, ...]]] = {}
        self._waiting: dict[str, set[tuple[str, str]]] = {}  # by the topic that they await

    def put(self, write: PutStep) -> None:
        """Keep a checkpoint."""
        record = write.record
        steps = self._steps.get(record.run_key)
        if steps is None:
            steps = self._steps[record.run_key] = {}
        if self._waiting and (before := steps.get(record.name)) is not None:
            self._await_no_more(before)
        steps[record.name] = _step_values(record)
        if record.awaits and record.state is StepState.WAITING:
            self._waiting.setdefault(record.awaits, set()).add((record.run_key, record.name))

    def require_awaiting(self, write: RequireAwaiting, _undo: Undo = None) -> Outcome | None:
        """Refuse unless a step waits for this topic."""
        is_awaiting = (write.run_key, write.step) in self._waiting.get(write.topic, ())
        return None if is_awaiting else Outcome.CONFLICT

    def of(self, run_key: str) -> list[StepRecord]:
        """Return the checkpoints of a run."""
        return sorted(map(_step_of, self._steps.get(run_key, {}).values()), key=attrgetter("seq"))

    def awaiting(self, topic: str) -> Iterator[str]:
        """Return the keys of the runs of which a step waits for this topic."""
        return (run_key for run_key, _ in self._waiting.get(topic, ()))

    def forget(self, run_key: str) -> None:
        """Forget the checkpoints of a run."""
        steps = self._steps.pop(run_key, None)
        if self._waiting and steps:
            for step in steps.values():
                self._await_no_more(step)

    def _await_no_more(self, step: tuple[Any, ...]) -> None:
        waiting = self._waiting.get(step[_AWAITS])
        if waiting is not None:
            waiting.discard((step[_RUN_KEY], step[_NAME]))
            if not waiting:
                del self._waiting[step[_AWAITS]]


def _step_of(row: tuple[Any, ...]) -> StepRecord:
    record = StepRecord(*row)
    record.state = StepState(record.state)
    return record
