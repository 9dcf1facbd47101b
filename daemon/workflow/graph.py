"""The frozen graph that a composition leaves behind: what a run walks over, what its hash identifies, what is drawn."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import UnionType
from typing import Any, Union, get_args, get_origin

from daemon.errors import CodecError
from daemon.workflow.codec import Codec, Held
from daemon.workflow.definition import BoundStep
from daemon.workflow.functions import needs_task
from daemon.workflow.nodes import (
    ChildNode,
    EmitNode,
    LoopNode,
    Node,
    OtherwiseNode,
    StepNode,
    TransformNode,
    WhenNode,
    walk,
)
from daemon.workflow.operand import Constant, Operand, Slot, Structure
from daemon.workflow.stored import VERSION, codes_of, texts_of, types_of

IsMissing = Callable[[int], bool]


@dataclass(frozen=True, eq=False)
class Graph:
    """What a workflow does, frozen.

    Two are equal if kinds, names, edges and options of their nodes are, and their functions have the same modules and
    qualified names: then they may be defined under one name.

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
    computed: Mapping[int, tuple[Codec, ...]] = field(default_factory=dict)
    handlers: dict[str, list[BoundStep]] = field(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graph) and (self is other or self.describe() == other.describe())

    def __hash__(self) -> int:
        return hash((self.workflow, *self.by_name))

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

    @cached_property
    def needs_task(self) -> bool:
        """Whether anything of the application in a run, forward or back, may wait, or ask for its task."""
        return any(_needs_task(node) for node in walk(self.nodes))

    @property
    def result_type(self) -> Any:
        """What the result is declared as; `Any` if it is a structure."""
        return None if self.result is None else self.result_codec.type

    def hold_result(
        self, values: Sequence[Any], limit_bytes: int, is_missing: IsMissing = lambda _: False
    ) -> bytes | None:
        """Return the JSON of what a run with these values returns, or None.

        Args:
            values: By slot.
            limit_bytes: As for `Codec.hold`, which says what is raised.
            is_missing: Whether what has this slot gave nothing, or a part of it: that is None, whatever its type.
        """
        result = self.result
        if result is None:
            return None
        if type(result) is not Slot:
            return _Holding(values, limit_bytes, is_missing).structure(result, "the workflow's result")
        stored, what = values[result.index], "the workflow's result"
        if not result.path:
            if type(stored) is not Held:
                try:
                    return self.result_codec.hold(stored, limit_bytes, what)[0]
                except CodecError:
                    if not is_missing(result.index):
                        raise
            elif stored.codec.reads_as(self.result_codec):
                return stored.data
        return _Holding(values, limit_bytes, is_missing).slot(result, self.result_codec, what)

    def decode_result(self, data: bytes) -> Any:
        """Return what a stored result stands for."""
        if isinstance(self.result, Structure):
            return _decode_structure(self.result, json.loads(data))
        return _decode(self.result_codec, data)

    def restore_result(self, data: bytes) -> Any:
        """Return a stored result that is no structure as a value at rest."""
        try:
            return self.result_codec.restore(data)
        except CodecError:
            if b"null" not in data:
                raise
            return _or_none(self.result_codec).restore(data)

    def describe(self) -> dict[str, object]:
        """Return the graph as plain data: what its hash is made of, and what the store keeps of it."""
        return {
            "workflow": self.workflow,
            "nodes": [node.describe() for node in self.nodes],
            "result": self.result and self.result.describe(),
        }

    @cached_property
    def json(self) -> bytes:
        """The description as JSON, with what it takes to make the graph of it again: code hashes, and types."""
        types = texts_of(types_of(self))
        return _compact({"version": VERSION, **self.describe(), "code": codes_of(self), "types": types})

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

    def to_dot(self) -> str:
        """Draw the graph in Graphviz's language, DOT."""
        from daemon.workflow.dot import to_dot  # noqa: PLC0415 - as above

        return to_dot(self)

    def to_svg(self) -> str:
        """Draw the graph as an SVG image; needs no browser and no other program."""
        from daemon.workflow.svg import to_svg  # noqa: PLC0415 - as above

        return to_svg(self)


def _compact(plain: dict[str, object]) -> bytes:
    return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()


@dataclass(slots=True)
class _Holding:
    """Makes the JSON of what a run returns; as the arguments of `hold_result`."""

    values: Sequence[Any]
    limit_bytes: int
    is_missing: IsMissing

    def slot(self, slot: Slot, codec: Codec, what: str) -> bytes:
        stored = self.values[slot.index]
        if type(stored) is Held and not slot.path and stored.codec.reads_as(codec):
            return stored.data
        value = slot.resolve(self.values)
        try:
            return codec.hold(value, self.limit_bytes, what)[0]
        except CodecError:
            if slot.path or not self.is_missing(slot.index):
                raise
            return _or_none(codec).hold(value, self.limit_bytes, what)[0]

    def structure(self, operand: Operand, what: str) -> bytes:
        if isinstance(operand, Constant):
            return operand.data
        if isinstance(operand, Slot):
            return self.slot(operand, Codec(operand.type), what)
        keys = operand.keys or range(len(operand.items))
        parts = [self.structure(item, f"{what}[{key!r}]") for key, item in zip(keys, operand.items, strict=True)]
        if operand.kind is dict:
            parts = [json.dumps(key).encode() + b":" + part for key, part in zip(operand.keys, parts, strict=True)]
            return b"{" + b",".join(parts) + b"}"
        return b"[" + b",".join(parts) + b"]"


def _decode(codec: Codec, data: bytes) -> Any:
    try:
        return codec.decode(data)
    except CodecError:
        if b"null" not in data:
            raise
        return _or_none(codec).decode(data)


def _or_none(codec: Codec) -> Codec:
    """Return the codec of a value, or of a loop's list of them, that may be missing."""
    declared = codec.type
    options = get_args(declared) if get_origin(declared) in (Union, UnionType) else (declared,)
    listed = [list[get_args(each)[0] | None] if get_origin(each) is list else each for each in options]  # type: ignore[misc]
    return Codec(Union[*listed, None])


def _decode_structure(operand: Operand, stored: Any) -> Any:
    if isinstance(operand, Slot):
        return _decode(Codec(operand.type), json.dumps(stored).encode())
    if isinstance(operand, Constant):
        return operand.codec.decode(operand.data)
    if operand.kind is dict:
        return {
            key: _decode_structure(item, stored[key]) for key, item in zip(operand.keys, operand.items, strict=True)
        }
    return operand.kind(_decode_structure(item, part) for item, part in zip(operand.items, stored, strict=True))


def _needs_task(node: Node) -> bool:
    if not isinstance(node, StepNode):
        return not isinstance(node, (TransformNode, WhenNode, OtherwiseNode, EmitNode))
    definition, settings = node.step.definition, node.step.settings
    undo = definition.compensation
    return (
        definition.needs_task
        or settings.external
        or settings.timeout is not None
        or (undo is not None and needs_task(undo.fn))
    )
