"""The frozen graph that a composition leaves behind: what a run walks over, what its hash identifies, what is drawn."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import CodeType
from typing import Any

from daemon.workflow.codec import Codec
from daemon.workflow.definition import BoundStep
from daemon.workflow.ref import Constant, Operand, Slot, Structure


@dataclass(frozen=True, slots=True, eq=False)
class StepNode:
    """One use of a step.

    Attributes:
        slot: Where a run puts its output.
        argument: What it gets; None if it takes nothing.
        step: The step with the options of this use.
        where: File and line of the call.
    """

    name: str
    slot: int
    argument: Operand | None
    step: BoundStep
    where: str

    @property
    def operands(self) -> tuple[Operand, ...]:
        """What it depends on."""
        return () if self.argument is None else (self.argument,)

    def describe(self) -> dict[str, object]:
        """Return what identifies it in a graph."""
        return {
            "kind": "step",
            "name": self.name,
            "inputs": [operand.describe() for operand in self.operands],
            "function": function_name(self.step.definition.fn),
            "compensation": self.step.definition.compensation and function_name(self.step.definition.compensation.fn),
            "options": self.step.settings.describe(),
        }


@dataclass(frozen=True, slots=True, eq=False)
class TransformNode:
    """A pure function of resolved values."""

    name: str
    slot: int
    operands: tuple[Operand, ...]
    fn: Callable[..., Any]
    where: str

    def describe(self) -> dict[str, object]:
        """Return what identifies it in a graph."""
        return {
            "kind": "transform",
            "name": self.name,
            "inputs": [operand.describe() for operand in self.operands],
            "function": function_name(self.fn),
        }


@dataclass(frozen=True, slots=True, eq=False)
class LoopNode:
    """One call of a step for each item of a list.

    Attributes:
        name: The step's; the calls have it with their index: `step[0]`.
        slot: Where a run puts the list of the outputs.
        items_slot: Where a run puts the list of the items.
        items: That list.
        concurrency: How many calls may run at the same time.
    """

    name: str
    slot: int
    items_slot: int
    items: Operand
    step: BoundStep
    concurrency: int
    where: str

    @property
    def operands(self) -> tuple[Operand, ...]:
        """What it depends on."""
        return (self.items,)

    def describe(self) -> dict[str, object]:
        """Return what identifies it in a graph."""
        one = StepNode(self.name, self.slot, self.items, self.step, self.where).describe()
        return {**one, "kind": "for_each", "concurrency": self.concurrency}


@dataclass(frozen=True, slots=True, eq=False)
class ParallelNode:
    """Steps that run, and are undone, at the same time."""

    name: str
    members: tuple[StepNode | LoopNode, ...]
    where: str

    def describe(self) -> dict[str, object]:
        """Return what identifies it in a graph."""
        return {"kind": "parallel", "name": self.name, "members": [member.describe() for member in self.members]}


@dataclass(frozen=True, slots=True, eq=False)
class WhenNode:
    """What runs only if a predicate holds.

    Attributes:
        slot: Where a run puts the decision.
        operands: The one value that the predicate gets.
    """

    name: str
    slot: int
    operands: tuple[Operand, ...]
    fn: Callable[..., Any]
    nodes: tuple["Node", ...]
    where: str

    def describe(self) -> dict[str, object]:
        """Return what identifies it in a graph."""
        return {
            "kind": "when",
            "name": self.name,
            "inputs": [operand.describe() for operand in self.operands],
            "function": function_name(self.fn),
            "nodes": [node.describe() for node in self.nodes],
        }


@dataclass(frozen=True, slots=True, eq=False)
class OtherwiseNode:
    """What runs only if the predicate of an earlier condition does not hold.

    Attributes:
        slot: Where a run has put that decision.
        condition: Name of the condition.
    """

    name: str
    slot: int
    condition: str
    nodes: tuple["Node", ...]
    where: str

    def describe(self) -> dict[str, object]:
        """Return what identifies it in a graph."""
        nodes = [node.describe() for node in self.nodes]
        return {"kind": "otherwise", "name": self.name, "of": self.condition, "nodes": nodes}


Node = StepNode | LoopNode | TransformNode | ParallelNode | WhenNode | OtherwiseNode


def walk(nodes: Iterable[Node]) -> Iterator[Node]:
    """Iterate over nodes and all that is inside them, in the order in which they were recorded."""
    for node in nodes:
        yield node
        if isinstance(node, ParallelNode):
            yield from node.members
        elif isinstance(node, (WhenNode, OtherwiseNode)):
            yield from walk(node.nodes)


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
    """

    workflow: str
    nodes: tuple[Node, ...]
    slots: int
    input: Codec | None
    result: Operand | None
    result_codec: Codec
    computed: Mapping[int, tuple[Codec, ...]] = field(default_factory=dict, compare=False)

    def steps(self) -> Iterator[StepNode | LoopNode]:
        """Iterate over all uses of steps, in the order in which they were recorded."""
        return (node for node in walk(self.nodes) if isinstance(node, (StepNode, LoopNode)))

    @cached_property
    def by_name(self) -> dict[str, Node]:
        """Every node, also those inside others."""
        return {node.name: node for node in walk(self.nodes)}

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
        codes = {
            node.name: code_hash(node.fn) for node in walk(self.nodes) if isinstance(node, (TransformNode, WhenNode))
        }
        return json.dumps({**self.describe(), "code": codes}, sort_keys=True, separators=(",", ":")).encode()

    @cached_property
    def hash(self) -> str:
        """Identifies the graph among all that a workflow ever had: SHA-256, the first 32 hex digits."""
        return hashlib.sha256(self.json).hexdigest()[:32]

    def to_mermaid(self) -> str:
        """Draw the graph as a Mermaid flowchart."""
        from daemon.workflow.mermaid import to_mermaid  # noqa: PLC0415 - what draws a graph knows what a graph is

        return to_mermaid(self)


def function_name(fn: Callable[..., Any]) -> str:
    """Return a function's module and qualified name: what makes it the same function after a reload."""
    module = getattr(fn, "__module__", None) or type(fn).__module__  # a method of a built-in type has none
    return f"{module}:{getattr(fn, '__qualname__', type(fn).__qualname__)}"


def code_hash(fn: Callable[..., Any]) -> str:
    """Return a hash of a function's compiled code, without file names and line numbers; empty if it has none."""
    code = getattr(fn, "__code__", None)
    return hashlib.sha256(_code_text(code).encode()).hexdigest()[:16] if code is not None else ""


def _code_text(code: CodeType) -> str:
    constants = map(_constant_text, code.co_consts)
    return "\x00".join([code.co_code.hex(), *constants, *code.co_names, *code.co_varnames, *code.co_freevars])


def _constant_text(item: object) -> str:
    if isinstance(item, CodeType):
        return _code_text(item)
    if isinstance(item, frozenset):  # its order differs from process to process
        return f"{{{', '.join(sorted(map(_constant_text, item)))}}}"
    return f"({', '.join(map(_constant_text, item))},)" if isinstance(item, tuple) else repr(item)


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
