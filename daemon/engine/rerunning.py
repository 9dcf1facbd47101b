"""A run's next attempt, on request: from its beginning, or from one of its steps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from daemon.clock import new_id
from daemon.engine.edited import edited_record
from daemon.engine.execution import Execution
from daemon.engine.graphs import Graphs
from daemon.engine.kept import Copies, NotKept, names_before
from daemon.engine.operations import at_the_top, latest
from daemon.engine.ports import Ports
from daemon.engine.restoring import restore
from daemon.engine.starting import graphs_of, new_record, trigger_of
from daemon.errors import LEFT_OUT, CodecError, MisfitError, RunExists, RunStateError, did_you_mean
from daemon.store.model import QUEUED, RunRecord, RunStatus
from daemon.store.writes import InsertRun, Outcome, PutStep, RequireEnded, Write
from daemon.workflow.codec import Json
from daemon.workflow.nodes import Node, OtherwiseNode, ParallelNode, TransformNode, WhenNode, walk
from daemon.workflow.workflow import WorkflowBase

_NO_STEPS = (TransformNode, ParallelNode, WhenNode, OtherwiseNode)
_NULLS = (None, Json(b"null"))


@dataclass(frozen=True, slots=True)
class Rerun:
    """What was asked for.

    Attributes:
        from_step: What runs again first; None: everything.
        input: That step's input, or the run's; `LEFT_OUT`: as before.
        here: Whether this process goes on with it, if it knows the workflow; else a daemon claims it.
    """

    run_id: str
    from_step: str | None
    input: Any
    here: bool


async def rerun(
    ports: Ports,
    asked: Rerun,
    known: Mapping[str, WorkflowBase],
    execution: Callable[[WorkflowBase, RunRecord], Execution],
) -> RunRecord:
    """Have the next attempt of a run begin, in one commit, and return it.

    Raises:
        RunNotFound: No run has this id.
        RunStateError: It has not ended, is a child, or cannot go on from this step.
        RunExists: The id of one of its children is another run's.
        CodecError: The input does not fit its type, or something that is stored does not any more.
        PayloadTooLargeError: The input is above the limit.
    """
    former = await at_the_top(ports, asked.run_id, "rerun")
    if not former.status.ended:
        raise _not_ended(former)
    workflow = known.get(former.workflow)
    writes: list[Write] = []
    if workflow is None:
        record = _unknown(ports, former, asked)
    else:
        value = _input_of(workflow, former, asked)
        record, _ = new_record(ports, workflow, value, former.run_id, trigger_of(former))
        record.attempt = former.attempt + 1
        record.owner = ports.owner if asked.here else ""
        writes += graphs_of(workflow, ())
        if asked.from_step is not None:
            writes += await _kept(ports, asked, execution(workflow, replace(former)), record)
    if await ports.store.commit(InsertRun(record), RequireEnded(former.key), *writes) is Outcome.APPLIED:
        return record
    found = await latest(ports, asked.run_id)
    if found.key != former.key or not found.status.ended:
        raise _not_ended(found)
    raise RunExists(asked.run_id, "one of its children would have the id of a run that is not its child.")


def _not_ended(record: RunRecord) -> RunStateError:
    what = f"only a run that has ended can be, and attempt {record.attempt} of it is"
    return RunStateError(f"Run {record.run_id!r} cannot be rerun: {what} {record.status}.")


def _refusal(asked: Rerun, why: str) -> RunStateError:
    return RunStateError(f"Run {asked.run_id!r} cannot be rerun from {asked.from_step!r}: {why}")


def _unknown(ports: Ports, former: RunRecord, asked: Rerun) -> RunRecord:
    """Return the next attempt of a run whose workflow is not known here: who claims it knows whether it has a place."""
    unknown = f"its workflow {former.workflow!r} is not known here"
    if asked.from_step is not None:
        raise _refusal(asked, f"{unknown}, so it can only be rerun from the beginning.")
    if asked.input is not LEFT_OUT:
        why = f"{unknown}, so nobody can tell whether that fits."
        raise RunStateError(f"Run {asked.run_id!r} cannot be rerun with another input: {why}")
    now_us = ports.clock.now_us()
    return RunRecord(
        key=new_id(now_us),
        app=former.app,
        run_id=former.run_id,
        attempt=former.attempt + 1,
        workflow=former.workflow,
        status=RunStatus.WAITING,
        waiting_for=QUEUED,
        trigger=former.trigger,
        input=former.input,
        graph_hash=former.graph_hash,
        owner="",
        created_us=now_us,
        updated_us=now_us,
        deadline_us=None if former.deadline_us is None else now_us + former.deadline_us - former.created_us,
    )


def _input_of(workflow: WorkflowBase, former: RunRecord, asked: Rerun) -> Any:
    """Return the input of the whole run."""
    codec, is_new = workflow.graph.input, asked.from_step is None and asked.input is not LEFT_OUT
    if codec is None:
        if is_new and asked.input not in _NULLS:
            raise MisfitError(f"Workflow {workflow.name!r} takes no input: leave it out.")
        return None
    given = asked.input if is_new else None if former.input is None else Json(former.input)
    return codec.given(given, f"the input of workflow {workflow.name!r}")


async def _kept(ports: Ports, asked: Rerun, run: Execution, record: RunRecord) -> list[Write]:
    """Return what is written of everything before the step, which stays as it is, and of the step's edited input."""
    target = _target(asked, run)
    if run.record.graph_hash != record.graph_hash:
        changed = f"workflow {record.workflow!r} has changed since, and what is stored does not belong to it any more"
        raise _refusal(asked, f"{changed}; rerun it from the beginning.")
    edited: list[Write] = []
    if asked.input is not LEFT_OUT:
        edited.append(PutStep(edited_record(record, target, asked.input, ports.max_payload_bytes)))
    is_published = run.record.status is RunStatus.COMPLETED
    await restore(run, Graphs(ports.store))
    for each in run.tree():
        for why in each.unread.values():
            raise CodecError(f"Run {asked.run_id!r} cannot be read any more: {why}")
    try:
        names = names_before(run, target)
    except NotKept as why:
        raise _refusal(asked, str(why)) from None
    stored = await ports.store.steps([each.record.key for each in run.tree()])
    edits = names if edited else {*names, target.name}
    return Copies(record, stored, is_published).writes(run, names, edits) + edited


def _target(asked: Rerun, run: Execution) -> Node:
    steps = {node.name: node for node in walk(run.graph.nodes) if not isinstance(node, _NO_STEPS)}
    found = next((node for name, node in steps.items() if name == asked.from_step), None)
    if found is None:
        name = str(asked.from_step)
        whole = name.partition("[")[0]
        hint = f" {whole!r} is run again as a whole." if whole in steps else did_you_mean(name, steps)
        what = f"workflow {run.workflow.name!r} has no such step.{hint} There are: {', '.join(steps) or 'none'}."
        raise _refusal(asked, what)
    return found
