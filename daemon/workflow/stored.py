"""What is stored of a graph beside its description: the code of its functions, and the types of its values; pure."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from daemon.workflow.adapters import type_text
from daemon.workflow.functions import code_hash
from daemon.workflow.nodes import (
    ChildNode,
    LoopNode,
    OtherwiseNode,
    ParallelNode,
    StepNode,
    TransformNode,
    WaitNode,
    WhenNode,
    walk,
)
from daemon.workflow.operand import Constant, Operand, Slot, Structure

if TYPE_CHECKING:
    from daemon.workflow.graph import Graph

VERSION = 1
"""Of what is stored. A run whose graph is of another one is not gone on with."""
Types = dict[str, dict[str, list[Any]]]


def codes_of(graph: "Graph") -> dict[str, str]:
    """Return a hash of the code of each function, and the hash of each child's graph, by the name of the node."""
    codes = {}
    for node in walk(graph.nodes):
        if isinstance(node, (TransformNode, WhenNode)):
            codes[node.name] = code_hash(node.fn)
        elif isinstance(node, WaitNode):
            codes[node.name] = code_hash(node.match)
        elif isinstance(node, ChildNode):
            codes[node.name] = node.workflow.graph.hash
    return codes


def types_of(graph: "Graph") -> Types:
    """Return the types of values, as it takes them to read what is stored of a run.

    `takes`: of the workflow's input, under no name, and of values that were known while composing, by the node.
    `gives`: of outputs by the node, and of the result, or of the parts of it in their order, under no name.
    `computed`: as what the results of transforms may be stored, by the node.
    """
    takes: dict[str, list[Any]] = {} if graph.input is None else {"": [graph.input.type]}
    gives: dict[str, list[Any]] = {"": list(_result_types(graph))}
    computed: dict[str, list[Any]] = {}
    for node in walk(graph.nodes):
        if isinstance(node, (StepNode, LoopNode)):
            gives[node.name] = [node.step.definition.output.type]
        elif isinstance(node, WaitNode):
            gives[node.name] = [node.event]
        elif isinstance(node, TransformNode) and node.slot in graph.computed:
            computed[node.name] = [codec.type for codec in graph.computed[node.slot]]
        if not isinstance(node, (ParallelNode, OtherwiseNode)):
            constants = [operand.codec.type for operand in node.operands if isinstance(operand, Constant)]
            takes |= {node.name: constants} if constants else {}
    return {"takes": takes, "gives": gives, "computed": computed}


def texts_of(types: Types) -> dict[str, dict[str, list[str]]]:
    """Return the types as texts, by which they are found again."""
    return {what: {name: list(map(type_text, some)) for name, some in named.items()} for what, named in types.items()}


def by_text(types: Types) -> Mapping[str, Any]:
    """Return the types by their texts."""
    return {type_text(each): each for named in types.values() for some in named.values() for each in some}


def slots_in(operand: Operand | None) -> Iterator[Slot]:
    """Iterate over the values of a run that an operand is made of."""
    if isinstance(operand, Slot):
        yield operand
    elif isinstance(operand, Structure):
        for item in operand.items:
            yield from slots_in(item)


def _result_types(graph: "Graph") -> Iterator[Any]:
    if isinstance(graph.result, Structure):
        yield from (slot.type for slot in slots_in(graph.result))
    elif graph.result is not None:
        yield graph.result_codec.type
