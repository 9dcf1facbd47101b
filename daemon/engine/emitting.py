"""What steps emit: staged with their checkpoints, published when the run has completed."""

import hashlib
import json
from dataclasses import replace

from daemon.engine.execution import Execution
from daemon.events.model import Message, message_of, pack, unpack
from daemon.store.model import OutgoingEvent, StepRecord
from daemon.store.writes import StageEvent
from daemon.workflow.context import Emitted, StepContext

_PER_STEP = 1000


def stage(run: Execution, record: StepRecord, ctx: StepContext, *, succeeded: bool) -> None:
    """Take over what an attempt emitted: immediate events leave with the next commit, whatever becomes of the run.

    The others are kept with the checkpoint of an attempt that succeeded, and dropped otherwise.
    """
    run.emitted = True
    kept: list[str] = []
    for index, emitted in enumerate(ctx.staged):
        if emitted.immediately:
            packed = _packed(run, emitted, f"{ctx.idempotency_key}:{ctx.phase}:{index}")
            run.pending.append(StageEvent(_outgoing(run, packed, record.seq * _PER_STEP + index)))
        elif succeeded:
            kept.append(_packed(run, emitted, f"{ctx.idempotency_key}:{ctx.phase}:{index}").decode())
    if kept:
        record.events = json.dumps(kept).encode()


def release(run: Execution) -> None:
    """Have every event that the steps staged published with the next commit: the run has completed."""
    for record in run.steps.values():
        if record.events:
            for index, packed in enumerate(json.loads(record.events)):
                run.pending.append(StageEvent(_outgoing(run, packed.encode(), record.seq * _PER_STEP + index)))


def _packed(run: Execution, emitted: Emitted, seed: str) -> bytes:
    """Return the message of an event; its id is the same in every repetition of the step."""
    trigger = run.scope.trigger
    event_id = hashlib.sha256(seed.encode()).hexdigest()[:32]
    now_us = run.ports.clock.now_us()
    message = message_of(emitted.name, emitted.body, source=run.ports.app, now_us=now_us, id=event_id)
    causation_id = trigger.id if trigger.kind == "event" else None
    envelope = replace(message.envelope, correlation_id=run.scope.correlation_id, causation_id=causation_id)
    return pack(Message(envelope, message.body))


def _outgoing(run: Execution, packed: bytes, seq: int) -> OutgoingEvent:
    event_id = unpack(packed).envelope.id
    return OutgoingEvent(event_id, run.ports.app, run.record.key, seq, packed, run.ports.clock.now_us())
