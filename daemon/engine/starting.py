"""Starting a run: its first record, and whether a run that exists may answer for it."""

import json
from collections.abc import Container
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from daemon.activation import Trigger
from daemon.clock import new_id
from daemon.engine.ports import Ports
from daemon.errors import CodecError, RunExists
from daemon.store.model import QUEUED, RunRecord, RunStatus
from daemon.store.writes import PutGraph
from daemon.workflow.port import RunOptions
from daemon.workflow.workflow import WorkflowBase

_MICROSECOND = timedelta(microseconds=1)
CALLED = Trigger("call")
_CALL = json.dumps(asdict(CALLED)).encode()


def new_record(
    ports: Ports, workflow: WorkflowBase, value: Any, run_id: str | None, trigger: Trigger
) -> tuple[RunRecord, Any]:
    """Return the record of a run that begins now, and its input as it is kept.

    Raises:
        CodecError: The input does not fit its declared type.
        PayloadTooLargeError: The input is above the limit.
    """
    now_us = ports.clock.now_us()
    key = new_id(now_us)
    graph = workflow.graph
    codec, data, held = graph.input, None, None
    if codec is not None:
        data, held = codec.hold(value, ports.max_payload_bytes, "the input of workflow", workflow.name)
    record = RunRecord(
        key,
        ports.app,
        run_id or key,
        1,
        workflow.name,
        RunStatus.RUNNING if workflow.max_concurrency is None else RunStatus.WAITING,
        _CALL if trigger is CALLED else trigger.to_json(),
        data,
        graph.hash,
        ports.owner,
        now_us,
        now_us,
    )
    if workflow.max_concurrency is not None:
        record.waiting_for = QUEUED
    if workflow.timeout is not None:
        record.deadline_us = now_us + workflow.timeout // _MICROSECOND
    return record, held


def graphs_of(workflow: WorkflowBase, known: Container[str]) -> list[PutGraph]:
    """Return the writes of a workflow's graph and its children's, but for those whose hashes are known."""
    graph = workflow.graph
    if graph.hash in known:
        return []
    found = [PutGraph(graph.hash, workflow.name, graph.json)]
    for child in graph.children():
        found += graphs_of(child.workflow, known)
    return found


def trigger_of(record: RunRecord) -> Trigger:
    """Return what started a run."""
    return CALLED if record.trigger == _CALL else Trigger(**json.loads(record.trigger))


def check_same(existing: RunRecord, wanted: RunRecord, workflow: WorkflowBase, options: RunOptions) -> None:
    """Raise `RunExists` unless the existing run may answer for the wanted one."""
    if existing.workflow != wanted.workflow:
        raise RunExists(wanted.run_id, f"it belongs to workflow {existing.workflow!r}.")
    if not _same_input(existing.input, wanted.input, workflow):
        raise RunExists(wanted.run_id, f"it is a run of {existing.workflow!r} with another input.")
    if options.on_existing == "reject":
        raise RunExists(wanted.run_id, f"it is a run of {existing.workflow!r} that is {existing.status}.")


def _same_input(stored: bytes | None, wanted: bytes | None, workflow: WorkflowBase) -> bool:
    if stored == wanted:
        return True
    codec = workflow.graph.input
    if stored is None or wanted is None or codec is None:
        return False
    if json.loads(stored) == json.loads(wanted):
        return True
    try:
        former = codec.decode(stored)
    except CodecError:  # the type has changed since
        return False
    same: bool = former == codec.decode(wanted)  # a set has no order
    return same
