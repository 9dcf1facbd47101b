"""Inputs of steps that somebody edited for a run's next attempt: kept in records of their own, beside the steps'."""

from typing import Any

from daemon.errors import MisfitError
from daemon.store.model import RunRecord, StepRecord, StepState
from daemon.workflow.codec import Codec
from daemon.workflow.nodes import ChildNode, LoopNode, Node, StepNode

EDITED = "edited"
_MARK = " (edited)"


def edited_record(run: RunRecord, node: Node, given: Any, limit_bytes: int) -> StepRecord:
    """Return what is kept of a step's edited input.

    Args:
        run: The attempt that begins with it.
        node: The step.
        given: Of the step's type; or `Json`, which is read as that.
        limit_bytes: The longest JSON that is accepted, in bytes.

    Raises:
        CodecError: It does not fit the step's type, or the step takes none.
        PayloadTooLargeError: It is above the limit.
    """
    codec, what = _codec_of(node), f"the input of step {node.name!r}"
    if codec is None:
        raise MisfitError(f"Step {node.name!r} takes no input: leave it out.")
    data, _ = codec.hold(codec.given(given, what), limit_bytes, what)
    now_us = run.created_us
    return StepRecord(
        run.key, node.name + _MARK, 0, EDITED, StepState.COMPLETED, 0, now_us, input=data, ended_us=now_us
    )


def step_of(record: StepRecord) -> str:
    """Return the step whose edited input a record keeps."""
    return record.name.removesuffix(_MARK)


def edited_items(loop: LoopNode) -> Codec:
    """Return the codec of the items that a loop goes over."""
    return Codec(list[loop.step.definition.input.type])  # type: ignore[name-defined]


def _codec_of(node: Node) -> Codec | None:
    if isinstance(node, StepNode) and node.argument is not None:
        return node.step.definition.input
    if isinstance(node, LoopNode):
        return edited_items(node)
    return node.workflow.graph.input if isinstance(node, ChildNode) else None
