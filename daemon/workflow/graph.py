"""The frozen graph that a composition leaves behind: what a run walks over, what its hash identifies, what is drawn."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from daemon.workflow.codec import Codec
from daemon.workflow.definition import BoundStep
from daemon.workflow.functions import code_hash
from daemon.workflow.nodes import ChildNode, LoopNode, Node, StepNode, TransformNode, WaitNode, WhenNode, walk
from daemon.workflow.ref import Constant, Operand, Slot, Structure


@dataclass(frozen=True)
class Graph:
    """What a workflow does, frozen.

    Attributes:
        nodes: In the order in which they were recorded.
        slots: How many values a run holds; slot 0 is its input.
        input: Codec of the input; None if it takes none.
        result: What the run returns; None if nothing.
        result_codec: Codec of a result that is one value; a structure's parts have their own.
        computed: For each transform that something follows, by its slot: as what its result may be stored.
        handlers: By the name of a hook, what runs there, in order; no part of what identifies the graph.
    """

    workflow: str
    nodes: tuple[Node, ...]
    slots: int
    input: Codec | None
    result: Operand | None
    result_codec: Codec
    computed: Mapping[int, tuple[Codec, ...]] = field(default_factory=dict, compare=False)
    handlers: dict[str, list[BoundStep]] = field(default_factory=dict, compare=False)

    def steps(self) -> Iterator[StepNode | LoopNode]:
        """Iterate over all uses of steps, in the order in which they were recorded."""
        return (node for node in walk(self.nodes) if isinstance(node, (StepNode, LoopNode)))

    def children(self) -> Iterator[ChildNode]:
        """Iterate over all workflows that are steps of this one, in the order in which they were recorded."""
        return (node for node in walk(self.nodes) if isinstance(node, ChildNode))

    @cached_property
    def by_name(self) -> dict[str, Node]:
        """Every node, also those inside others."""
        return {node.name: node for node in walk(self.nodes)}

    @property
    def result_type(self) -> Any:
        """What the result is declared as; `Any` if it is a structure."""
        return None if self.result is None else self.result_codec.type

    def hold_result(self, values: Sequence[Any], limit_bytes: int) -> bytes | None:
        """Return the JSON of what a run with these values returns, or None. Raises as `Codec.hold`."""
        if self.result is None:
            return None
        if isinstance(self.result, Slot):
            return self.result_codec.hold(self.result.resolve(values), limit_bytes, "the workflow's result")[0]
        return _hold_structure(self.result, values, limit_bytes)

    def decode_result(self, data: bytes) -> Any:
        """Return what a stored result stands for."""
        if isinstance(self.result, Structure):
            return _decode_structure(self.result, json.loads(data))
        return self.result_codec.decode(data)

    def describe(self) -> dict[str, object]:
        """Return the graph as plain data: what its hash is made of, and what the store keeps of it."""
        return {
            "workflow": self.workflow,
            "nodes": [node.describe() for node in self.nodes],
            "result": self.result and self.result.describe(),
        }

    @cached_property
    def json(self) -> bytes:
        """The description as JSON, with the code hashes of its functions."""
        codes = {}
        for node in walk(self.nodes):
            if isinstance(node, (TransformNode, WhenNode)):
                codes[node.name] = code_hash(node.fn)
            elif isinstance(node, WaitNode):
                codes[node.name] = code_hash(node.match)
            elif isinstance(node, ChildNode):
                codes[node.name] = node.workflow.graph.hash
        return _compact({**self.describe(), "code": codes})

    @cached_property
    def hash(self) -> str:
        """Identifies the graph among all that a workflow ever had: SHA-256, the first 32 hex digits."""
        return hashlib.sha256(self.json).hexdigest()[:32]

    @cached_property
    def shape(self) -> str:
        """The same without the code of its functions: what two definitions of one workflow have to agree in."""
        return hashlib.sha256(_compact(self.describe())).hexdigest()[:32]

    def to_mermaid(self) -> str:
        """Draw the graph as a Mermaid flowchart."""
        from daemon.workflow.mermaid import to_mermaid  # noqa: PLC0415 - what draws a graph knows what a graph is

        return to_mermaid(self)


def _compact(plain: dict[str, object]) -> bytes:
    return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()


def _hold_structure(operand: Operand, values: Sequence[Any], limit_bytes: int) -> bytes:
    if isinstance(operand, Constant):
        return operand.data
    if isinstance(operand, Slot):
        return Codec(operand.type).hold(operand.resolve(values), limit_bytes, "a part of the workflow's result")[0]
    parts = [_hold_structure(item, values, limit_bytes) for item in operand.items]
    if operand.kind is dict:
        parts = [json.dumps(key).encode() + b":" + part for key, part in zip(operand.keys, parts, strict=True)]
        return b"{" + b",".join(parts) + b"}"
    return b"[" + b",".join(parts) + b"]"


def _decode_structure(operand: Operand, stored: Any) -> Any:
    if isinstance(operand, Slot):
        return Codec(operand.type).decode(json.dumps(stored).encode())
    if isinstance(operand, Constant):
        return operand.codec.decode(operand.data)
    if operand.kind is dict:
        return {
            key: _decode_structure(item, stored[key]) for key, item in zip(operand.keys, operand.items, strict=True)
        }
    return operand.kind(_decode_structure(item, part) for item, part in zip(operand.items, stored, strict=True))
