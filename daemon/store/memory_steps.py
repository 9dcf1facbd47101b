"""Checkpoints in this process's memory, and which of them wait for a signal."""

from collections.abc import Iterator
from operator import attrgetter

from daemon.store.memory_rows import STEP_AWAITS, STEP_NAME, STEP_RUN_KEY, Row, row_of_step, step_of
from daemon.store.memory_runs import Undo
from daemon.store.model import StepRecord, StepState
from daemon.store.writes import Outcome, PutStep, RequireAwaiting


class MemorySteps:
    """Checkpoints by their run's key and their name. What it hands out are copies."""

    def __init__(self) -> None:
        self._steps: dict[str, dict[str, Row]] = {}
        self._waiting: dict[str, set[tuple[str, str]]] = {}  # by the topic that they await

    def put(self, write: PutStep) -> None:
        """Keep a checkpoint."""
        record = write.record
        steps = self._steps.get(record.run_key)
        if steps is None:
            steps = self._steps[record.run_key] = {}
        if self._waiting and (before := steps.get(record.name)) is not None:
            self._await_no_more(before)
        steps[record.name] = row_of_step(record)
        if record.awaits and record.state is StepState.WAITING:
            self._waiting.setdefault(record.awaits, set()).add((record.run_key, record.name))

    def require_awaiting(self, write: RequireAwaiting, _undo: Undo = None) -> Outcome | None:
        """Refuse unless a step waits for this topic."""
        is_awaiting = (write.run_key, write.step) in self._waiting.get(write.topic, ())
        return None if is_awaiting else Outcome.CONFLICT

    def of(self, run_key: str) -> list[StepRecord]:
        """Return the checkpoints of a run."""
        return sorted(map(step_of, self._steps.get(run_key, {}).values()), key=attrgetter("seq"))

    def awaiting(self, topic: str) -> Iterator[str]:
        """Return the keys of the runs of which a step waits for this topic."""
        return (run_key for run_key, _ in self._waiting.get(topic, ()))

    def forget(self, run_key: str) -> None:
        """Forget the checkpoints of a run."""
        steps = self._steps.pop(run_key, None)
        if self._waiting and steps:
            for step in steps.values():
                self._await_no_more(step)

    def _await_no_more(self, step: Row) -> None:
        waiting = self._waiting.get(step[STEP_AWAITS])
        if waiting is not None:
            waiting.discard((step[STEP_RUN_KEY], step[STEP_NAME]))
            if not waiting:
                del self._waiting[step[STEP_AWAITS]]
