"""What a step is told about the run that it works for."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import svcs
from structlog.typing import FilteringBoundLogger

from daemon.activation import Activation, Trigger
from daemon.errors import PayloadTooLargeError
from daemon.events.model import Event, body_of, name_of
from daemon.log import get_logger
from daemon.trace import Trace

_KEY_MAX = 255


def _no_options(_: str) -> Mapping[str, Any]:
    return {}


@cache
def _logger_of(module: str) -> FilteringBoundLogger:
    return get_logger(module)


@dataclass(slots=True)
class RunScope:
    """What all steps of one attempt of a run share.

    Attributes:
        attempt: Which attempt of the run this is; 1 is the first.
        correlation_id: What its events carry on; that of its trigger, or the run's own id.
        max_payload_bytes: The largest event.
        options_of: Gives the table `[options.<workflow>]` by the workflow's name.
        module: The workflow's module: the name of the steps' logger.
    """

    container: svcs.Container
    app: str
    run_id: str
    attempt: int
    workflow: str
    trigger: Trigger
    max_payload_bytes: int
    options_of: Callable[[str], Mapping[str, Any]] = _no_options
    module: str = "application"
    _trace: Trace | None = None

    @property
    def correlation_id(self) -> str:
        return self.trigger.correlation_id or self.run_id

    @property
    def trace(self) -> Trace:
        """The trace that everything belongs to that comes of the run."""
        if self._trace is None:
            self._trace = self.trigger.trace(self.app, self.correlation_id)
        return self._trace


class Emitted(NamedTuple):
    """An event that a step emitted, as JSON."""

    name: str
    body: bytes
    immediately: bool


class StepContext:
    """What a step is told: its run, its attempt, and the services it may use.

    Attributes:
        attempt: Which attempt of this step it is; 1 is the first.
        step: The step's name.
        phase: `invoke`, or `compensate` in a step's compensation.
        staged: What it emitted, in order.
    """

    __slots__ = ("_activation", "_scope", "attempt", "phase", "staged", "step")

    def __init__(self, scope: RunScope, step: str, attempt: int, phase: str = "invoke") -> None:
        self._scope = scope
        self.step = step
        self.attempt = attempt
        self.phase = phase
        self.staged: list[Emitted] = []
        self._activation: Activation | None = None

    @property
    def container(self) -> svcs.Container:
        """The services: `await ctx.container.aget(Stock)`."""
        return self._scope.container

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._scope.run_id

    @property
    def workflow(self) -> str:
        """The workflow's name."""
        return self._scope.workflow

    @property
    def trigger(self) -> Trigger:
        """What started the run."""
        return self._scope.trigger

    @property
    def options(self) -> Mapping[str, Any]:
        """The table `[options.<workflow>]` of the configuration."""
        return self._scope.options_of(self._scope.workflow)

    @property
    def idempotency_key(self) -> str:
        """Names this step of this attempt of the run: the same for every attempt of the step, and across crashes.

        At most 255 characters; give it to whatever must not do the same thing twice.
        """
        scope = self._scope
        key = f"{scope.app}:{scope.run_id}:{scope.attempt}:{self.step}"
        return key if len(key) <= _KEY_MAX else f"{key[:180]}:{hashlib.sha256(key.encode()).hexdigest()}"

    @property
    def log(self) -> FilteringBoundLogger:
        """A logger that knows the workflow, the run, the step and the attempt."""
        scope = self._scope
        return _logger_of(scope.module).bind(
            workflow=scope.workflow,
            run_id=scope.run_id,
            step=self.step,
            attempt=self.attempt,
            trace_id=scope.trace.id,
        )

    def emit(self, event: Event, *, immediately: bool = False) -> None:
        """Stage an event in the run: published after the run has completed, dropped when it rolls back.

        Args:
            event: What happened.
            immediately: Publish it soon, whatever becomes of the run.

        Raises:
            DefinitionError: It is no event, or its class has no name.
            CodecError: It has no JSON form; names the field.
            PayloadTooLargeError: It is above the limit.
        """
        name = name_of(type(event))
        body = body_of(event)
        if len(body) > self._scope.max_payload_bytes:
            raise PayloadTooLargeError(f"event {name!r}", len(body), self._scope.max_payload_bytes)
        self.staged.append(Emitted(name, body, immediately))

    def activation(self) -> Activation:
        """Return the activation under which this step starts other workflows, the same one every time."""
        if self._activation is None:
            scope = self._scope
            self._activation = Activation(
                Trigger(
                    "run",
                    scope.workflow,
                    scope.run_id,
                    scope.correlation_id,
                    **scope.trace.headers(scope.run_id, self.step),
                ),
                (scope.app, scope.run_id, str(scope.attempt), self.step, self.phase),
                scope.trigger.id if scope.trigger.kind == "event" else None,
            )
        return self._activation
