"""What steps and compositions emit: staged with their checkpoints, published when the run at the top has completed."""

import hashlib
import json
from dataclasses import replace

from daemon.engine.execution import Execution
from daemon.errors import PayloadTooLargeError
from daemon.events.model import Event, Message, body_of, message_of, name_of, pack, unpack
from daemon.store.model import OutgoingEvent, StepRecord, StepState
from daemon.store.writes import StageEvent
from daemon.workflow.context import Emitted, StepContext
from daemon.workflow.nodes import EmitNode

_RELEASED = 1 << 60  # after everything that left immediately


def stage(run: Execution, record: StepRecord, ctx: StepContext, *, succeeded: bool) -> None:
    """Take over what an attempt emitted: immediate events leave with the next commit, whatever becomes of the run.

    The others are kept with the checkpoint of an attempt that succeeded, and dropped otherwise.
    """
    _stage(run, record, ctx.staged, f"{ctx.idempotency_key}:{ctx.phase}", succeeded=succeeded)


def emit(run: Execution, node: EmitNode) -> None:
    """Stage the event of a composition, with a checkpoint of its own.

    Raises:
        TypeError: What the ref stands for is no event.
        CodecError: It has no JSON form.
        PayloadTooLargeError: It is above the limit.
        DefinitionError: The event's class has no name.
    """
    event, limit_bytes = node.operand.resolve(run.values), run.ports.max_payload_bytes
    if not isinstance(event, Event):
        msg = f"emit takes an event, and got {type(event).__name__}"
        raise TypeError(msg)
    name, body = name_of(type(event)), body_of(event)
    if len(body) > limit_bytes:
        raise PayloadTooLargeError(f"event {name!r}", len(body), limit_bytes)
    record = run.begin(node.name, None, "emit")
    key = StepContext(run.scope, node.name, 1).idempotency_key
    _stage(run, record, [Emitted(name, body, node.immediately)], key, succeeded=True)
    run.end(record, StepState.COMPLETED)


def _stage(run: Execution, record: StepRecord, emitted: list[Emitted], seed: str, *, succeeded: bool) -> None:
    kept: list[str] = []
    for index, each in enumerate(emitted):
        packed = _packed(run, each, f"{seed}:{index}")
        run.top.emitted = max(run.top.emitted + 1, run.ports.clock.now_us())  # ascends over a crash, too
        if each.immediately:
            run.journal.pending.append(StageEvent(_outgoing(run, packed, run.top.emitted)))
        elif succeeded:
            kept.append(packed.decode())
    if kept:
        record.events = json.dumps(kept).encode()


def release(run: Execution) -> None:
    """Have every event that was staged in a run and its children published with the next commit: it has completed."""
    for seq, packed in enumerate(_staged(run), _RELEASED):
        run.journal.pending.append(StageEvent(_outgoing(run, packed.encode(), seq)))
        run.emitted = run.emitted or 1  # before it waited, perhaps, of which this process would not know


def _staged(run: Execution) -> list[str]:
    found: list[str] = []
    for record in run.steps.values():
        if record.events:
            found += json.loads(record.events)
        elif record.kind == "child":
            found += _staged(run.children[record.name])
    return found


def _packed(run: Execution, emitted: Emitted, seed: str) -> bytes:
    """Return the message of an event; its id is the same in every repetition of the step."""
    trigger = run.top.scope.trigger
    event_id = hashlib.sha256(seed.encode()).hexdigest()[:32]
    now_us = run.ports.clock.now_us()
    message = message_of(
        emitted.name, emitted.body, source=run.ports.app, now_us=now_us, id=event_id, trace=run.scope.trace
    )
    causation_id = trigger.id if trigger.kind == "event" else None
    envelope = replace(message.envelope, correlation_id=run.scope.correlation_id, causation_id=causation_id)
    return pack(Message(envelope, message.body))


def _outgoing(run: Execution, packed: bytes, seq: int) -> OutgoingEvent:
    event_id = unpack(packed).envelope.id
    ports = run.ports
    return OutgoingEvent(event_id, ports.app, run.top.record.key, seq, packed, ports.clock.now_us(), ports.owner)
