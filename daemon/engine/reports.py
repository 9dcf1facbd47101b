"""What a run waits for from outside: signals, each of which is the outcome of an external step, or an event."""

import json
from datetime import timedelta

from daemon.engine.control import Parked
from daemon.engine.execution import Execution
from daemon.errors import CodecError, PayloadTooLargeError, ReportedFailure, StepTimeout
from daemon.store.model import Signal, StepRecord, StepState
from daemon.store.writes import RequireNoSignal
from daemon.workflow.nodes import StepNode

OUTPUT, ERROR = "output", "error"  # the ids of the two signals that an external step may get
_MICROSECOND = timedelta(microseconds=1)


def topic_of_step(record: StepRecord) -> str:
    """Return what an attempt of an external step waits for."""
    return f"step/{record.run_key}/{record.name}/{record.attempts}"


def ask_for_report(run: Execution, node: StepNode, record: StepRecord, begun_us: int) -> None:
    """Have an external step wait for somebody to report its outcome; its timeout counts from the attempt's begin."""
    timeout = node.step.settings.timeout
    record.due_us = None if timeout is None else begun_us + timeout // _MICROSECOND
    record.awaits = topic_of_step(record)
    record.become(StepState.WAITING)
    run.put(record)


async def take_report(run: Execution, node: StepNode, record: StepRecord) -> BaseException | None:
    """Take over what was reported of an external step, and return what went wrong.

    Raises:
        Parked: Nothing was reported yet.
    """
    timeout = node.step.settings.timeout or timedelta()
    if not record.awaits:
        return StepTimeout(node.name, timeout)  # which was all that the process could note that died then
    signal = await signal_of(run, record, f"the outcome of {node.name}", 0)
    record.awaits, record.due_us = "", None
    if signal is None:
        return StepTimeout(node.name, timeout)
    if signal.id == ERROR:
        return ReportedFailure(json.loads(signal.body))
    output, what = node.step.definition.output, f"the output of step {node.name!r}"
    try:
        held = output.hold(output.decode(signal.body), run.ports.max_payload_bytes, what)
    except (CodecError, PayloadTooLargeError) as unfit:
        return unfit
    record.output, run.values[node.slot] = held
    record.become(StepState.COMPLETED)
    record.ended_us = run.ports.clock.now_us()
    return None


async def signal_of(run: Execution, record: StepRecord, waiting_for: str, since_us: int) -> Signal | None:
    """Return the first signal that a checkpoint awaits, or None if its time is over, and no later one counts.

    Args:
        run: The run that the checkpoint is of.
        record: It is waiting.
        waiting_for: What for, in words.
        since_us: Earlier signals do not count.

    Raises:
        Parked: There is none yet.
    """
    app, topic, is_known = run.ports.app, record.awaits, not run.is_abreast
    while True:
        signal = await run.ports.store.signal(app, topic, since_us)
        if signal is not None:
            return signal
        if record.due_us is None or record.due_us > run.ports.clock.now_us():
            if is_known:
                raise Parked(record.due_us, waiting_for)
            if not run.journal.is_clear:  # what runs beside it may take long, and nobody tells it of what comes before
                await run.journal.flush()
            is_known = True
            continue  # that may have come meanwhile
        record.awaits = ""
        run.put(record)
        if await run.journal.flush(RequireNoSignal(app, topic, since_us)):
            return None
        record.awaits = topic
