"""What happens to one run while this process drives it: what becomes durable, what fails, and what stops it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from pydantic_core import to_json

from daemon.engine.control import Stop
from daemon.engine.failures import INVOKE, describe_error
from daemon.engine.pauses import wake
from daemon.engine.standing import NO_LIMIT, Standing
from daemon.log import get_logger
from daemon.store.model import RunStatus, StepRecord, StepState
from daemon.store.writes import PutStep
from daemon.workflow.run import WorkflowRun

log = get_logger(__name__)
_DURABLE_WAIT_S = 1.0


class Execution(Standing):
    """One attempt of a run, or of a child inside it, driven by the task of the run at the top; see `Standing`.

    Invariants: an effectful step starts only when everything before it in its branch is durable, and that commit was
    not fenced; `failing` is set, for the whole tree, before the first step is undone, and never cleared; `settled` is
    set only once the end of the run at the top, or its being parked, is durable.
    """

    __slots__ = ()

    # --- what becomes durable ---

    def put(self, record: StepRecord) -> None:
        """Have a checkpoint written with the next commit."""
        failures = self.failures.get(record.name)
        if failures:
            record.failures = to_json(failures)
        self.journal.pending.append(PutStep(record))

    def put_computed(self, record: StepRecord) -> None:
        """Have a decision or a transform's result written with the preceding step's checkpoint.

        Without one it waits for the first that there is: no step waits for it, since it may be evaluated again.
        """
        if self.steps or self.parent is not None:
            self.journal.pending.append(PutStep(record))
        else:
            self.journal.put_ahead(PutStep(record))

    def set_status(self, status: RunStatus, wake_us: int | None = None, waiting_for: str = "") -> None:
        """Note where the run stands; the next commit writes it."""
        record = self.record
        if record.status is not status or record.wake_us != wake_us or record.waiting_for != waiting_for:
            record.become(status)
            record.wake_us, record.waiting_for = wake_us, waiting_for
            self.journal.note(record)

    def finish(self, status: RunStatus) -> None:
        """Give the run's row its end; the next commit of the row makes it durable."""
        self.set_status(status)
        self.record.ended_us = self.ports.clock.now_us()

    # --- steps and failures ---

    def begin(
        self, name: str, argument: bytes | None, kind: str = "step", state: StepState = StepState.RUNNING
    ) -> StepRecord:
        """Return the checkpoint of a step that starts now, or goes on with its next attempt."""
        record = self.steps.get(name)
        if record is None:
            self.seq += 1
            record = StepRecord(self.record.key, name, self.seq, kind, state, 0, self.ports.clock.now_us(), argument)
            self.steps[name] = record
        return record

    def end(self, record: StepRecord, state: StepState) -> None:
        """Give a step its outcome."""
        record.become(state)
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
        failures = self.failures.get(step)
        return [failure for failure in failures if failure["phase"] == phase] if failures else []

    def give_up(
        self,
        name: str,
        phase: str,
        attempts: list[dict[str, Any]],
        cause: BaseException | None,
        *,
        tolerated: bool = False,
    ) -> None:
        """Note a final failure: of a step, a transform, the run itself, a compensation; a child's is its parents', too.

        Args:
            name: Of what failed.
            phase: Whether that happened forward or backward.
            attempts: The failed ones.
            cause: The exception, where it happened in this process.
            tolerated: The run goes on regardless.
        """
        error: dict[str, Any] = {"step": name, "phase": phase, "attempts": attempts}
        if tolerated:
            error["tolerated"] = True
        run: Execution | None = self
        while run is not None:
            run.errors.append(error)
            run.record.errors = to_json(run.errors)
            self.journal.note(run.record)
            if run.cause is None and not tolerated:
                run.cause = cause
            if run is self and run.parent is not None:
                error = {**error, "child": self.record.run_id}
            run = run.parent

    def fail(self, name: str, error: BaseException) -> None:
        """Note a final failure of a transform, or of the run itself; from now on nothing new starts."""
        self.give_up(name, INVOKE, [describe_error(error, self.ports.clock.now_us())], error)
        self.begin_to_fail()

    def fail_step(self, name: str, error: BaseException | None) -> None:
        """Note the final failure of a step whose attempts are noted; from now on nothing new starts."""
        self.give_up(name, INVOKE, self.failures_of(name, INVOKE), error)
        self.begin_to_fail()

    def begin_to_fail(self) -> None:
        """Have nothing new start in the whole tree, and wake whoever waits for a retry."""
        for each in self.top.tree():
            each.failing = True
            for sleeper in each.sleepers:
                wake(sleeper)

    def nudge(self) -> None:
        """Have what waits for long beside something that goes on look whether what it waits for has come."""
        self.nudges += 1
        for each in self.tree():
            for sleeper in each.dormant:
                wake(sleeper)

    @property
    def cancelling(self) -> bool:
        """Whether somebody asked to cancel it: its rollback ends `cancelled`."""
        return self.top.record.cancel_us is not None

    def cancel(self) -> None:
        """Have nothing new start, and what is done undone once what runs has ended; a rollback just goes on."""
        if self.record.cancel_us is None:
            self.record.cancel_us = self.ports.clock.now_us()
        if not self.failing:
            self.begin_to_fail()

    def halt(self, stop: Stop, limit: timedelta = NO_LIMIT) -> None:
        """Cancel the task that drives it, and with it all that is inside it.

        Args:
            stop: Why.
            limit: The timeout that is over.
        """
        for each in self.tree():
            each.stop, each.limit = stop, limit
        if self.task is not None:
            self.task.cancel()

    # --- for whoever asks ---

    def view(self) -> WorkflowRun[Any]:
        """Return the run as it stands; what happens to it later does not change what was returned."""
        steps = list(self.steps.values())
        if self.settled and self.record.status.ended:
            return WorkflowRun(self.record, steps, graph=self.graph, cause=self.cause)
        return WorkflowRun(replace(self.record), [replace(step) for step in steps], graph=self.graph, cause=self.cause)
