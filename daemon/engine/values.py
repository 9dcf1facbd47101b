"""What a step gets, and what is kept of what it gives."""

from typing import Any

from daemon.engine.execution import Execution
from daemon.engine.failures import COMPENSATE
from daemon.errors import CodecError, PayloadTooLargeError, PermanentFailure
from daemon.store.model import StepRecord, StepState
from daemon.workflow.codec import Held, taken
from daemon.workflow.nodes import ChildNode, LoopNode, StepNode, TransformNode, WaitNode, walk
from daemon.workflow.operand import Constant, Operand, Slot
from daemon.workflow.step import StepResponse

_COMPLETED = StepState.COMPLETED  # a name: an enum takes long to find its members
DUE = frozenset({StepState.COMPLETED, StepState.FAILED, StepState.COMPENSATING})


def argument_of(run: Execution, node: StepNode) -> tuple[Any, bytes | None]:
    """Return what a step gets, as its own copy, and the JSON of it.

    Raises:
        CodecError: It does not fit what the step declares.
        PayloadTooLargeError: It is above the limit, which nobody knew while composing.
    """
    operand = node.argument
    if operand is None:
        return None, None
    if node.name in run.edited:
        return node.step.definition.input.decode(run.edited[node.name]), run.edited[node.name]
    if type(operand) is Constant:
        if len(operand.data) > run.ports.max_payload_bytes:
            raise PayloadTooLargeError(
                f"the input of step {node.name!r}", len(operand.data), run.ports.max_payload_bytes
            )
        return operand.resolve(run.values), operand.data
    codec = node.step.definition.input
    value = run.values[operand.index] if type(operand) is Slot and not operand.path else operand.resolve(run.values)
    if type(value) is Held:
        if codec.takes(value.codec):
            return value.take(), value.data
        value = value.take()
    try:
        data, held = codec.hold(value, run.ports.max_payload_bytes, "the input of step", node.name)
    except CodecError as error:
        raise explained(run, operand, error) from error.__cause__
    return taken(held), data


def explained(run: Execution, operand: Operand, error: CodecError) -> CodecError:
    """Return the error with what it does not know: that the value, or a part of it, is missing, and who gives it."""
    value = operand.resolve(run.values)
    lacks = value is None or (type(value) is list and any(each is None for each in value))
    giver = _missing(run, operand.index) if lacks and type(operand) is Slot else ""
    if not giver:
        return error
    return CodecError(
        f"{error}. {giver!r} did not give it, or not all of it: what is skipped, or fails and is tolerated, gives "
        "None, so declare that what gets it takes None."
    )


def keep(run: Execution, node: StepNode, record: StepRecord, returned: Any) -> None:
    """Note in its checkpoint that an attempt succeeded, and what it returned.

    Raises:
        CodecError: The output, or the compensation's input, cannot be stored as its declared type, or is to be reported
            later; nothing is noted.
        PayloadTooLargeError: One of them is above the limit.
    """
    definition = node.step.definition
    limit_bytes = run.ports.max_payload_bytes
    undo = None
    state = _COMPLETED
    if type(returned) is StepResponse:
        if returned.is_pending:
            msg = f"step {node.name!r} returned StepResponse.pending(), and nobody can report its output"
            raise CodecError(f"{msg}: write external=True in its @step, or return StepResponse(output).")
        if returned.skipped:
            state = StepState.SKIPPED
        elif returned.has_compensate_input:
            what = "the compensate_input of step"
            undo, _ = definition.undo.hold(returned.compensate_input, limit_bytes, what, node.name)
        returned = returned.output
    if state is _COMPLETED:
        what = "the output of step"
        record.output, run.values[node.slot] = definition.output.hold(returned, limit_bytes, what, node.name)
        record.undo = undo
    record.become(state)
    record.ended_us = run.ports.clock.now_us()


def keep_undo(run: Execution, node: StepNode, record: StepRecord, returned: Any) -> bool:
    """Note what an external step gave its compensation; tell whether it waits now for its outcome to be reported.

    Its output is what is reported; what it returned is not looked at. Raises as `keep`.
    """
    if type(returned) is not StepResponse:
        return True
    if returned.skipped:
        keep(run, node, record, returned)
        return False
    if returned.has_compensate_input:
        what, undo = "the compensate_input of step", node.step.definition.undo
        record.undo, _ = undo.hold(returned.compensate_input, run.ports.max_payload_bytes, what, node.name)
    return True


def keep_partial(run: Execution, node: StepNode, record: StepRecord, failure: PermanentFailure) -> None:
    """Keep what a failed step's own compensation gets; what cannot be kept cannot be undone either."""
    compensation = node.step.definition.compensation
    if compensation is None:
        return
    what, codec = "the compensate_input of step", compensation.partial
    try:
        record.undo, _ = codec.hold(failure.compensate_input, run.ports.max_payload_bytes, what, node.name)
    except (CodecError, PayloadTooLargeError) as unfit:
        run.note_failure(node.name, unfit)
        if not compensation.accepts_none:
            run.give_up(node.name, COMPENSATE, [run.failures[node.name][-1]], unfit)


def is_due(run: Execution, node: StepNode) -> bool:
    """Tell whether a step is to be undone: it completed, or it was tried and failed, and that can be undone, too."""
    record = run.steps.get(node.name)
    compensation = node.step.definition.compensation
    if record is None or compensation is None or record.state not in DUE or record.attempts == 0:
        return False
    return record.output is not None or record.undo is not None or compensation.accepts_none


def compensate_input_of(run: Execution, node: StepNode) -> Any:
    """Return what the compensation of a step that is due gets, as its own copy.

    Raises:
        CodecError: What is stored does not fit the declared type any more.
    """
    record, definition = run.steps[node.name], node.step.definition
    if record.output is not None and record.undo is None:
        return taken(run.values[node.slot])
    if record.undo is None or definition.compensation is None:
        return None
    codec = definition.compensation.partial if record.output is None else definition.undo
    return codec.decode(record.undo)


def result_of(run: Execution) -> bytes | None:
    """Return the JSON of what a run returns that has come to its end, or None.

    Raises:
        CodecError: It has no JSON form of its declared type.
        PayloadTooLargeError: It is above the limit.
        Exception: It is a pick into what is not there.
    """
    return run.graph.hold_result(run.values, run.ports.max_payload_bytes, lambda slot: bool(_missing(run, slot)))


def _missing(run: Execution, slot: int) -> str:
    """Return the name of what gives a value if it did not, or not all of it: skipped, or failed and tolerated.

    Also that of a child, of which it is not known: it has seen to its own result.
    """
    for node in walk(run.graph.nodes):
        if not isinstance(node, (LoopNode, TransformNode, ChildNode, StepNode, WaitNode)) or node.slot != slot:
            continue
        if isinstance(node, LoopNode):
            calls = run.calls.get(node.name, {}).values()
            has_given = run.values[slot] is not None and all(_has_completed(run, each.name) for each in calls)
        elif isinstance(node, TransformNode):
            has_given = slot in run.known
        else:
            has_given = not isinstance(node, ChildNode) and _has_completed(run, node.name)
        return "" if has_given else node.name
    return ""


def _has_completed(run: Execution, name: str) -> bool:
    record = run.steps.get(name)
    return record is not None and record.state is StepState.COMPLETED
