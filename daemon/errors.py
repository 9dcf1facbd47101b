"""Every deliberate exception of sagad.

    DaemonError
    +-- DefinitionError             a decorator was given something it cannot accept
    |   +-- CompositionError        a step or a workflow says something that no run could do
    |   +-- CronError               a schedule is wrong, or can never fire (also a ValueError)
    +-- ConfigurationError          config.toml or the application's modules have mistakes; exit status 78
    +-- ServiceNotRegisteredError   the container was asked for a type nobody provides
    +-- CodecError                  a value does not survive as JSON of its declared type
    |   +-- MisfitError             JSON that was sent does not fit the declared type
    +-- PayloadTooLargeError        a value, an event or a request is above `max_payload_bytes`
    +-- BrokerUnavailableError      the broker did not take or confirm what it was given
    +-- UnroutableError             an event was confirmed by the broker, and no queue wanted it
    +-- StoreUnavailableError       the store cannot be read or written at the moment
    |   +-- ForestalledError        another process has started a run at the same time
    +-- StoreVersionError           the database was written by a newer sagad, or its server is too old
    |   +-- StoreEmptyError         there is nothing of sagad's in it yet
    +-- RunNotFound                 no run has this id
    +-- RunExists                   this run id belongs to another workflow, another input, or is rejected
    +-- RunNotCompleted             a run's result was asked for, and the run has none (yet)
    +-- RunStateError               a run or step is not in the state that the call needs
    +-- JobNotFound                 no job has this name
    +-- JobStateError               a job is not in the state that the call needs
    +-- WatcherBehindError          who watches runs did not ask what happened for too long
    +-- WorkflowFailed              a run ended without a result
    +-- RemoteError                 an error that happened in another process, with its stored text
    +-- StepTimeout                 an attempt of a step took too long
    +-- RunTimeout                  a run took too long
    +-- WaitTimeout                 an awaited event did not come in time
    +-- ReportedFailure             an external step failed, as was reported
    +-- PermanentFailure            raised by a step: do not try again
    +-- Reject                      raised by a handler: this event is not acceptable
    +-- RetryAfter                  raised by a handler: again later, not counted as a failure

Names end in `Error`, except outcomes (`WorkflowFailed`, `RunExists`) and requests (`Reject`, `RetryAfter`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daemon.workflow.run import WorkflowRun


class _LeftOut:
    def __repr__(self) -> str:
        return "LEFT_OUT"


LEFT_OUT: Any = _LeftOut()  # where None would say something; in the signatures that `help` shows


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` for the closest known name, or an empty string."""
    close = get_close_matches(wrong, list(known), n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


class DaemonError(Exception):
    """Base of every deliberate exception of sagad."""


class DefinitionError(DaemonError):
    """A decorator was given something it cannot accept."""


class CompositionError(DefinitionError):
    """A step or a workflow says something that no run could do: its function, an option, the composition."""


class CronError(DefinitionError, ValueError):
    """A schedule is wrong, or can never fire."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in the configuration or in the application's modules.

    Attributes:
        where: A config key (`broker.url`), or a file and line (`jobs/nightly.py:12`).
        what: What is wrong and what to do, in one line without secrets.
    """

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class ConfigurationError(DaemonError):
    """config.toml or the application's modules have mistakes; all of them, in `problems`."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class ServiceNotRegisteredError(DaemonError):
    """The container was asked for a type nobody provides."""

    def __init__(
        self,
        wanted: type,
        known: Sequence[str],
        instead: str = "Provide one with @service on a function that returns it.",
    ) -> None:
        self.wanted = wanted
        self.known = tuple(known)
        name, registered = getattr(wanted, "__qualname__", wanted), ", ".join(sorted(known)) or "nothing"
        super().__init__(f"No service is registered for {name}. {instead} Registered: {registered}.")


class CodecError(DaemonError):
    """A value cannot be stored as JSON of its declared type, or would come back different."""


class MisfitError(CodecError):
    """JSON that was sent does not fit the type that is declared for it; the message names every wrong field.

    Attributes:
        details: What is wrong with which field, as pydantic lists it, without the values.
    """

    def __init__(self, message: str, details: Sequence[Any] = ()) -> None:
        self.details = details
        super().__init__(message)


class PayloadTooLargeError(DaemonError):
    """A step's value, an event or a request is above `max_payload_bytes`."""

    def __init__(self, what: str, size_bytes: int, limit_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes
        super().__init__(
            f"{what} is {size_bytes:,} bytes as JSON; the limit is {limit_bytes:,} (daemon.max_payload_bytes). "
            "Store large data elsewhere and pass a reference to it."
        )


class BrokerUnavailableError(DaemonError):
    """The broker is away, or did not confirm in time: whether it took the message is unknown."""


class UnroutableError(DaemonError):
    """The broker confirmed an event, and no queue is bound to its name."""


class StoreUnavailableError(DaemonError):
    """The store cannot be read or written at the moment; nothing that was confirmed is lost."""


class ForestalledError(StoreUnavailableError):
    """Another process had started a run before this one wrote anything of it."""


class StoreVersionError(DaemonError):
    """The database was written by a newer sagad than this one, or its server is too old for this one."""


class StoreEmptyError(StoreVersionError):
    """There is nothing of sagad's in the database yet, and nothing was to be made."""


class RunNotFound(DaemonError):  # noqa: N818 - an outcome
    """No run has this id."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(f"No run has the id {run_id!r}.")


class RunExists(DaemonError):  # noqa: N818 - an outcome
    """One run id is one run: it belongs to another workflow or input, or the caller wanted a new one."""

    def __init__(self, run_id: str, why: str) -> None:
        self.run_id = run_id
        super().__init__(f"The run id {run_id!r} is taken: {why}")


class RunNotCompleted(DaemonError):  # noqa: N818 - an outcome
    """A run's result was asked for, and the run has none (yet)."""

    def __init__(self, run_id: str, workflow: str, status: str) -> None:
        self.run_id = run_id
        self.workflow = workflow
        self.status = status
        super().__init__(f"Run {run_id!r} of {workflow} is {status}: only a completed run has a result.")


class RunStateError(DaemonError):
    """A run or step is not in the state that the call needs; the message says what state it is in."""


class JobNotFound(DaemonError):  # noqa: N818 - an outcome
    """No job has this name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        super().__init__(f"No job has the name {name[:100]!r}.{did_you_mean(name, known)}")


class JobStateError(DaemonError):
    """A job is not in the state that the call needs; the message says what state it is in."""


class WatcherBehindError(DaemonError):
    """Who watches runs did not ask what happened for so long that it is kept no longer."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"More than {limit:,} events have happened that this watcher did not ask for; watch anew.")


class WorkflowFailed(DaemonError):  # noqa: N818 - an outcome
    """A run ended without a result; `run` has its errors, and `__cause__` is the step's exception."""

    def __init__(self, run: "WorkflowRun[Any]", message: str) -> None:
        self.run = run
        super().__init__(message)


class RemoteError(DaemonError):
    """An error that happened in another process: its type and text as they were stored.

    Attributes:
        type: Qualified name of the original exception's type.
        traceback: The stored traceback; may be empty.
    """

    def __init__(self, type: str, message: str, traceback: str = "") -> None:  # noqa: A002 - the contract's name
        self.type = type
        self.message = message
        self.traceback = traceback
        super().__init__(f"{type}: {message}" if message else type)


class StepTimeout(DaemonError):  # noqa: N818 - an outcome
    """An attempt of a step took longer than its timeout, and was cancelled."""

    def __init__(self, step: str, timeout: timedelta) -> None:
        self.step = step
        self.timeout = timeout
        super().__init__(f"step {step!r} did not end within {timeout.total_seconds():g} s")


class RunTimeout(DaemonError):  # noqa: N818 - an outcome
    """A run took longer than its workflow's timeout, and was rolled back."""

    def __init__(self, workflow: str, timeout: timedelta) -> None:
        self.workflow = workflow
        self.timeout = timeout
        super().__init__(f"workflow {workflow!r} did not end within {timeout.total_seconds():g} s")


class WaitTimeout(DaemonError):  # noqa: N818 - an outcome
    """An awaited event did not come in time."""

    def __init__(self, node: str, event: str, timeout: timedelta) -> None:
        self.node = node
        super().__init__(f"{node!r} got no {event!r} within {timeout.total_seconds():g} s")


class ReportedFailure(DaemonError):  # noqa: N818 - an outcome
    """An external step failed: somebody reported so, with this message."""


class PermanentFailure(DaemonError):  # noqa: N818 - a request
    """Raise in a step: no more attempts.

    Args:
        message: Why, for the log and the run's errors.
        compensate_input: What the step's own compensation gets, if the step left something half done.
    """

    def __init__(self, message: str = "", *, compensate_input: Any = LEFT_OUT) -> None:
        self.has_compensate_input = compensate_input is not LEFT_OUT
        self.compensate_input = compensate_input if self.has_compensate_input else None
        super().__init__(message)


class Reject(DaemonError):  # noqa: N818 - a request
    """Raise in a subscriber's handler: dead-letter this event at once."""


class RetryAfter(DaemonError):  # noqa: N818 - a request
    """Raise in a subscriber's handler: deliver this event again after `delay`, not counted as a failure."""

    def __init__(self, delay: timedelta) -> None:
        if delay < timedelta(0):
            msg = f"RetryAfter takes a delay of zero or more, not {delay}."
            raise ValueError(msg)
        self.delay = delay
        super().__init__(f"again in {delay.total_seconds():g} s")
