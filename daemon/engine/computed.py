"""What transforms and predicates gave: evaluated once, and stored with the checkpoint of the step before them."""

from typing import TYPE_CHECKING

from daemon.errors import CodecError, PayloadTooLargeError
from daemon.store.model import StepRecord, StepState
from daemon.workflow.nodes import TransformNode, WhenNode

if TYPE_CHECKING:
    from daemon.engine.execution import Execution

_DECISIONS = {b"true": True, b"false": False}


def compute(run: "Execution", node: TransformNode) -> None:
    """Evaluate a transform, unless its result is stored. Raises whatever the application's function raises.

    The result is stored as one of the types that it is declared or used as, or as plain JSON. One that fits none of
    them is not stored: after a crash the transform is evaluated again.
    """
    if node.slot in run.known:
        return
    found = node.fn(*[operand.resolve(run.values) for operand in node.operands])
    for index, codec in enumerate(run.graph.computed.get(node.slot, ())):
        try:
            data, found = codec.hold(found, run.ports.max_payload_bytes, "the result of", node.name)
        except (CodecError, PayloadTooLargeError):
            continue
        _put(run, node, "transform", data, b"%d" % index)
        break
    run.values[node.slot] = found
    run.known.add(node.slot)


def decide(run: "Execution", node: WhenNode) -> bool:
    """Return whether a condition holds: as it is stored, else as its predicate says. Raises whatever that raises."""
    if node.slot not in run.known:
        holds = bool(node.fn(*[operand.resolve(run.values) for operand in node.operands]))
        run.values[node.slot] = holds
        run.known.add(node.slot)
        _put(run, node, "when", b"true" if holds else b"false", None)
    return run.values[node.slot] is True


def recall(run: "Execution", record: StepRecord) -> None:
    """Take over what is stored of a transform or a condition."""
    graph = run.graph
    node = graph.by_name.get(record.name)
    if isinstance(node, WhenNode) and record.output is not None:
        run.values[node.slot] = _DECISIONS[record.output]
    elif isinstance(node, TransformNode) and record.output is not None and record.input is not None:
        run.values[node.slot] = graph.computed[node.slot][int(record.input)].restore(record.output)
    else:
        return
    run.known.add(node.slot)


def _put(run: "Execution", node: TransformNode | WhenNode, kind: str, output: bytes, codec: bytes | None) -> None:
    now_us = run.ports.clock.now_us()
    run.put_computed(
        StepRecord(
            run.record.key, node.name, run.seq, kind, StepState.COMPLETED, 0, now_us, codec, output, ended_us=now_us
        )
    )
