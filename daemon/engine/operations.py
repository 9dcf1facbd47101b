"""What somebody asks of a run that exists: whether it may be done, and the write that makes it durable."""

import json
from collections.abc import Container, Iterable, Mapping
from typing import Any

from daemon.engine.failures import COMPENSATE, FINAL, text_of
from daemon.engine.ports import Ports
from daemon.engine.reports import ERROR, OUTPUT
from daemon.errors import RunNotFound, RunStateError, did_you_mean
from daemon.store.model import RunRecord, RunStatus, Signal, StepRecord, StepState
from daemon.store.writes import (
    Outcome,
    PutSignal,
    PutStep,
    ReopenRun,
    RequestCancel,
    RequireAwaiting,
    RequireNoSignal,
    UpdateChild,
    Write,
)
from daemon.workflow.bound import is_run_id
from daemon.workflow.codec import ANY, Codec
from daemon.workflow.nodes import LoopNode, StepNode
from daemon.workflow.workflow import WorkflowBase

_ERROR_MAX = 8192


async def request_cancel(ports: Ports, run_id: str) -> RunRecord:
    """Have it stored that a run is to be cancelled, and return its latest attempt as it was then.

    Raises:
        RunNotFound: No run has this id.
        RunStateError: It has ended.
    """
    record = await at_the_top(ports, run_id, "cancelled")
    if not record.status.ended:
        now_us = ports.clock.now_us()
        if await ports.store.commit(RequestCancel(record.key, now_us)) is Outcome.APPLIED:
            record.cancel_us = record.cancel_us or now_us
            return record
        record = await latest(ports, run_id)
    raise RunStateError(f"Run {run_id!r} cannot be cancelled: it has ended, {record.status}.")


async def reopen(ports: Ports, run_id: str, known: Container[str], *, closing: bool) -> RunRecord:
    """Have a rollback that gave up go on, and return the run.

    It becomes this process's if its workflow is among those that are known, unless this process is closing; else it is
    nobody's, and a daemon claims it.

    Raises:
        RunNotFound: No run has this id.
        RunStateError: It is not `failed`, or none of its compensations gave up.
    """
    record = await at_the_top(ports, run_id, "retried")
    if record.status is not RunStatus.FAILED:
        raise _not_failed(record)
    children = (await ports.store.children([record.key]))[record.key]
    steps = await ports.store.steps([record.key, *(child.key for child in children)])
    stuck = {
        key: [step for step in found if step.state is StepState.COMPENSATION_FAILED] for key, found in steps.items()
    }
    if all(step.kind == "child" for some in stuck.values() for step in some):  # which is stuck by what is in it
        what = "none of its compensations gave up, so there is nothing to go on with; its errors say what was left."
        raise RunStateError(f"Run {run_id!r} cannot be retried: {what}")
    writes: list[Write] = []
    for each in (record, *children):
        if stuck[each.key]:
            _reopen(each, stuck[each.key], ports.clock.now_us())
            writes += [PutStep(step) for step in stuck[each.key]]
    writes += [UpdateChild(child) for child in children if stuck[child.key]]
    undecided = {(run.run_id, step.name) for run in (record, *children) for step in stuck[run.key]}
    for each in (record, *children):
        _forget_errors(each, undecided)
    record.owner = ports.owner if record.workflow in known and not closing else ""
    record.epoch += 1
    if await ports.store.commit(ReopenRun(record), *writes) is not Outcome.APPLIED:
        raise _not_failed(await latest(ports, run_id))
    return record


def _reopen(record: RunRecord, stuck: Iterable[StepRecord], now_us: int) -> None:
    """Have a rollback go on, and those of its compensations that gave up be tried afresh."""
    record.become(RunStatus.COMPENSATING)
    record.ended_us, record.updated_us = None, now_us
    for step in stuck:
        step.become(StepState.COMPENSATING)
        failures = json.loads(step.failures)
        if failures:
            failures[-1][FINAL] = True
            step.failures = json.dumps(failures).encode()


def _forget_errors(record: RunRecord, undecided: set[tuple[str, str]]) -> None:
    """Take the compensations that are tried afresh out of what finally failed."""
    errors = [
        error
        for error in json.loads(record.errors)
        if error["phase"] != COMPENSATE or (error.get("child", record.run_id), error["step"]) not in undecided
    ]
    record.errors = json.dumps(errors).encode()


def _not_failed(record: RunRecord) -> RunStateError:
    what = "only a rollback that gave up can be, and it"
    return RunStateError(f"Run {record.run_id!r} cannot be retried: {what} is {record.status}.")


async def report_output(ports: Ports, known: Mapping[str, WorkflowBase], run_id: str, step: str, output: Any) -> None:
    """Report the output of an external step; it is checked here if its workflow is known here.

    Raises:
        RunNotFound: No run has this id.
        RunStateError: The step does not wait for a report.
        CodecError: The output does not fit the step's type.
        PayloadTooLargeError: It is above the limit.
    """
    record = await latest(ports, run_id)
    topic = await _awaited(ports, record, step, known)
    codec, what = _output_codec(known.get(record.workflow), step), f"the output of step {step!r}"
    data, _ = codec.hold(codec.given(output, what), ports.max_payload_bytes, what)
    await _report(ports, record, step, Signal(ports.app, topic, OUTPUT, data, _now_us(ports, record)))


async def report_error(
    ports: Ports, known: Mapping[str, WorkflowBase], run_id: str, step: str, error: str | BaseException
) -> None:
    """Report that an external step has failed. Raises `RunNotFound` and `RunStateError`, as `report_output`."""
    if not isinstance(error, (str, BaseException)):
        raise TypeError(f"error is a text or an exception, not {error!r}.")
    record = await latest(ports, run_id)
    topic = await _awaited(ports, record, step, known)
    text = error if isinstance(error, str) else text_of(error) or type(error).__name__
    data = json.dumps(text[:_ERROR_MAX]).encode()
    await _report(ports, record, step, Signal(ports.app, topic, ERROR, data, _now_us(ports, record)))


def _now_us(ports: Ports, record: RunRecord) -> int:
    """Return when a report came: never before its run began, though the clock may have been set back."""
    return max(ports.clock.now_us(), record.created_us)


def _output_codec(workflow: WorkflowBase | None, step: str) -> Codec:
    nodes = workflow.graph.by_name if workflow is not None else {}
    node = nodes.get(step.partition("[")[0])
    return node.step.definition.output if isinstance(node, (StepNode, LoopNode)) else ANY


async def _report(ports: Ports, record: RunRecord, name: str, signal: Signal) -> None:
    guards = RequireAwaiting(record.key, name, signal.topic), RequireNoSignal(ports.app, signal.topic, 0)
    if await ports.store.commit(*guards, PutSignal(signal)) is not Outcome.APPLIED:
        await _awaited(ports, record, name, {})
        raise _no_report(record, name, "its outcome was reported already")


async def _awaited(ports: Ports, record: RunRecord, name: str, known: Mapping[str, WorkflowBase]) -> str:
    """Return the topic that a step waits for. Raises `RunStateError` if it waits for none."""
    steps = [each for each in (await ports.store.steps([record.key]))[record.key] if each.kind == "step"]
    step = next((each for each in steps if each.name == name), None)
    if step is None:
        what = f"the run is {record.status}, and has not come to a step of this name"
        workflow = known.get(record.workflow)
        names = {each.name for each in steps} | {each.name for each in (workflow.graph.steps() if workflow else ())}
        hint = await _other_place(ports, record, name) or ("" if name in names else did_you_mean(str(name), names))
        raise _no_report(record, name, what, hint)
    if not step.awaits:
        is_between = step.state is StepState.WAITING
        raise _no_report(record, name, "it waits for its next attempt" if is_between else f"it is {step.state}")
    return step.awaits


async def _other_place(ports: Ports, record: RunRecord, name: str) -> str:
    """Say in which child, or as which call of a loop, a step waits that does not by this run id and name."""
    root_key = record.root_key or record.key
    runs = [record, *(await ports.store.children([root_key]))[root_key]]
    stored = await ports.store.steps([each.key for each in runs])
    waiting = [(run.run_id, step.name) for run in runs for step in stored[run.key] if step.awaits]
    found = [place for place in waiting if place[1].partition("[")[0] == name]
    return f" Step {found[0][1]!r} of run {found[0][0]!r} waits for one." if found else ""


def _no_report(record: RunRecord, step: str, what: str, hint: str = "") -> RunStateError:
    return RunStateError(f"Step {step!r} of run {record.run_id!r} waits for no report: {what}.{hint}")


async def at_the_top(ports: Ports, run_id: str, what: str) -> RunRecord:
    """Return the latest attempt of a run that is no child.

    Raises:
        RunNotFound: No run has this id.
        RunStateError: It is a child: the message says of which run.
    """
    record = await latest(ports, run_id)
    if record.root_key is None:
        return record
    of = json.loads(record.trigger)["id"]
    raise RunStateError(f"Run {run_id!r} cannot be {what} by itself: it is a step of run {of!r}.")


async def latest(ports: Ports, run_id: str) -> RunRecord:
    """Return the latest attempt of a run as it is stored. Raises `RunNotFound`, also for what no run id can be."""
    record = await ports.store.run(ports.app, run_id) if is_run_id(run_id) else None
    if record is None:
        raise RunNotFound(run_id)
    return record
