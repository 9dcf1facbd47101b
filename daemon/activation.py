"""What is being handled right now: the trigger that runs derive their ids from, and what was emitted meanwhile.

A ContextVar carries it from whoever hands out work (a subscriber's dispatch, the scheduler, a request) to the
workflows that are started on the way, without passing it through the application's hands.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from typing import Protocol

from daemon.trace import TRACEPARENT, TRACESTATE, Trace

RUN_ID_MAX = 200
_READABLE_MAX = 80


@dataclass(frozen=True, slots=True)
class Trigger:
    """What started a run.

    Attributes:
        kind: `event`, `job`, `request`, `run` (a parent) or `call` (from code).
        name: The subscriber's id, the job's name, the parent's workflow; empty for a request or a call.
        id: The event's id, the scheduled time (ISO 8601), the parent's run id; empty for a request or a call.
        correlation_id: What events emitted by the run carry on; None: the run begins a correlation of its own.
        traceparent: The trace that it belongs to, as in the header of that name; empty: one derived from what it is.
        tracestate: Likewise.
    """

    kind: str
    name: str = ""
    id: str = ""
    correlation_id: str | None = None
    traceparent: str = ""
    tracestate: str = ""

    def to_json(self) -> bytes:
        """Return it as it is stored with a run."""
        fields = asdict(self)
        for name in (TRACEPARENT, TRACESTATE):
            if not fields[name]:
                del fields[name]
        return json.dumps(fields).encode()

    def trace(self, *identity: str) -> Trace:
        """Return the trace that it belongs to; if it has none, the one derived from the given identity."""
        return Trace.of({TRACEPARENT: self.traceparent, TRACESTATE: self.tracestate}, *identity)


@dataclass(slots=True)
class Activation:
    """One handling of one trigger: an attempt to handle an event, a firing of a job, a request.

    Attributes:
        trigger: What set it off.
        identity: What makes two handlings the same one, whatever happened in between: for an event
            (source, name, id), for a firing its scheduled time.
        causation_id: The event in whose handling this happens; what is published meanwhile names it as its cause.
        may_defer: Whether the start of a run may become durable only with what the run writes first: it all comes again
            if this process dies before, and no other process may be at it meanwhile.
    """

    trigger: Trigger
    identity: tuple[str, ...]
    causation_id: str | None = None
    may_defer: bool = False
    _ordinals: dict[str, int] = field(default_factory=dict)

    def next_run_id(self, workflow: str) -> str:
        """Return the id of the next run of `workflow` in this handling; the same in every repetition of it.

        A readable beginning and a hash of everything that it is derived from, at most 200 characters.
        """
        ordinal = self._ordinals.get(workflow, 0) + 1
        self._ordinals[workflow] = ordinal
        parts = (self.trigger.kind, self.trigger.name, *self.identity, workflow, str(ordinal))
        digest = hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:24]
        readable = f"{self.trigger.name}:{workflow}"[:_READABLE_MAX]
        return f"{readable}:{digest}"


class ActivationSource(Protocol):
    """Makes its activation when somebody asks for it: steps are many, and few of them start workflows."""

    def activation(self) -> Activation:
        """Return the activation, the same one every time."""


_current: ContextVar[Activation | ActivationSource | None] = ContextVar("sagad_activation", default=None)
activate = _current.set


def current_activation() -> Activation | None:
    """Return what this task is handling, or None outside a handler."""
    current = _current.get()
    return current if current is None or isinstance(current, Activation) else current.activation()


@contextmanager
def activated(activation: Activation | ActivationSource | None) -> Iterator[None]:
    """Make `activation` the current one inside the block, in this task and in those that it starts."""
    token = _current.set(activation)
    try:
        yield
    finally:
        _current.reset(token)
