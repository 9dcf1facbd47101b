"""Nodes that wait: for a time, and for an event."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic_core import from_json, to_json

from daemon.clock import iso_of, to_us
from daemon.engine.control import Failed
from daemon.engine.execution import Execution
from daemon.engine.pauses import set_running, set_waiting, wait_until
from daemon.engine.reports import signal_of
from daemon.engine.stepping import give_up, is_past
from daemon.errors import WaitTimeout
from daemon.events.model import name_of
from daemon.store.model import StepRecord, StepState
from daemon.workflow.codec import Codec
from daemon.workflow.nodes import SleepNode, WaitNode

_MICROSECOND = timedelta(microseconds=1)
_KEY_MAX = 100


async def do_sleep(run: Execution, node: SleepNode) -> None:
    """Wait for a timer, which is written down if it is long.

    Raises:
        Failed: It is until something that is no aware datetime, or the run fails meanwhile.
        Parked: It is far off.
    """
    if is_past(run, node):
        return
    record = run.steps.get(node.name)
    if record is None:
        now_us = run.ports.clock.now_us()
        try:
            due_us = _due_us(run, node, now_us)
        except Exception as error:  # noqa: BLE001 - a pick into what is not there, or what is no aware datetime
            give_up(run, node.name, error)
        record = run.begin(node.name, None, "sleep", StepState.WAITING)
        record.due_us = due_us
        if run.is_long((due_us - now_us) / 1_000_000):
            set_waiting(run, due_us, _until(record))
            run.put(record)
            await run.journal.flush()
    if not run.failing:  # it may have begun to while that was on its way
        await wait_until(run, record.due_us or 0, _until(record))
    if run.failing:
        raise Failed
    set_running(run)
    run.end(record, StepState.COMPLETED)


def _due_us(run: Execution, node: SleepNode, now_us: int) -> int:
    if node.delay is not None:
        return now_us + node.delay // _MICROSECOND
    until: Any = node.until.resolve(run.values) if node.until is not None else None
    if not isinstance(until, datetime) or until.tzinfo is None:
        instead = "; add tzinfo=UTC" if isinstance(until, datetime) else ""
        msg = f"sleep_until waits for an aware datetime, and got {until!r}{instead}"
        raise TypeError(msg)
    return to_us(until.astimezone(UTC))


def _until(record: StepRecord) -> str:
    return f"{record.name} until {iso_of(record.due_us or 0)}"


def topic_of_event(workflow: str, node: WaitNode, key: Any) -> str:
    """Return what a run waits for that waits for an event with this key."""
    text = json.dumps(from_json(to_json(key)), sort_keys=True)  # equal dicts may have their keys in another order
    if len(text) > _KEY_MAX:
        text = hashlib.sha256(text.encode()).hexdigest()
    return f"{topics_of_node(workflow, node)}{text}"


def topics_of_node(workflow: str, node: WaitNode) -> str:
    """Return what all topics of a node begin with."""
    return f"event/{workflow}/{node.name}/"


async def do_wait(run: Execution, node: WaitNode) -> None:
    """Wait for the first event that matches, and came after the run at the top had started.

    Raises:
        Failed: It did not come in time.
        Parked: It has not come yet.
    """
    if is_past(run, node):
        return
    record = run.steps.get(node.name)
    if record is None:
        try:
            topic = topic_of_event(run.workflow.name, node, node.key.resolve(run.values))
        except Exception as error:  # noqa: BLE001 - a pick into what is not there, or what has no JSON form
            give_up(run, node.name, error)
        record = run.begin(node.name, None, "wait", StepState.WAITING)
        record.awaits = topic
        if node.timeout is not None:
            record.due_us = run.ports.clock.now_us() + node.timeout // _MICROSECOND
        run.put(record)
    signal = None
    if record.awaits:  # else the process died that had noted that the time was over
        signal = await signal_of(run, record, f"{name_of(node.event)} ({node.name})", run.top.record.created_us)
    record.awaits = ""
    if signal is None:
        late = WaitTimeout(node.name, name_of(node.event), node.timeout or timedelta())
        run.note_failure(node.name, late)
        run.fail_step(node.name, late)
        run.end(record, StepState.FAILED)
        raise Failed
    record.output = signal.body
    run.values[node.slot] = Codec(node.event).restore(signal.body)
    run.end(record, StepState.COMPLETED)
