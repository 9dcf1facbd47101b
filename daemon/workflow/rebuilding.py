"""Graphs made of what is stored of them, with the functions and types of the code that runs now."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from daemon.errors import CodecError
from daemon.workflow.codec import ANY, Codec
from daemon.workflow.definition import BoundStep, SkipTo
from daemon.workflow.graph import Graph
from daemon.workflow.nodes import (
    ChildNode,
    EmitNode,
    HookNode,
    LoopNode,
    Node,
    OtherwiseNode,
    ParallelNode,
    SleepNode,
    StepNode,
    TransformNode,
    WaitNode,
    WhenNode,
)
from daemon.workflow.operand import Constant, Operand, Slot, Structure, path_of
from daemon.workflow.placeholders import (
    GoneCodec,
    GoneEvent,
    codec_of,
    gone_function,
    gone_step,
    gone_workflow,
    on_failure_of,
)
from daemon.workflow.stored import VERSION, by_text, types_of
from daemon.workflow.workflow import WorkflowBase

if TYPE_CHECKING:
    from daemon.events.model import Event

RESULT = ""
"""The name under which a graph may lack its result."""
_VALUES = frozenset({"step", "for_each", "child", "transform", "wait_for_event", "when"})
_KINDS: Mapping[str, type] = {"dict": dict, "list": list, "tuple": tuple}
Described = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A graph, and what the code that runs now does not have of it.

    Attributes:
        lacks: By the name of the node: what is wrong, in words. Something that is never called stands in its place.
    """

    graph: Graph
    lacks: Mapping[str, str]


def rebuilt(data: bytes, current: Graph | None) -> Rebuilt:
    """Make a stored graph again: its nodes and edges, with what the current one has of the same identity.

    A step, a child or a hook is the same if its name is; it has its present function and options. A function (of a
    transform, a condition or a wait) is the same if its name, its inputs and its code are. Everything else is no code,
    and as it is stored.

    Args:
        data: The JSON of a graph.
        current: What its workflow is now; None: there is no such workflow any more.

    Raises:
        CodecError: It was stored by a version of sagad that writes it otherwise.
    """
    stored = json.loads(data)
    if stored.get("version") != VERSION:
        raise CodecError("its graph was stored by another version of sagad")
    return _Rebuilding(stored, current).result()


class _Rebuilding:
    """One graph that is made again."""

    def __init__(self, stored: Described, current: Graph | None) -> None:
        self._stored = stored
        self._current = current
        self._nodes: Mapping[str, Node] = current.by_name if current else {}
        now: Described = json.loads(current.json) if current else {"nodes": [], "code": {}}
        self._now_codes = now["code"]
        self._now = {node["name"]: node for node in _flat(now["nodes"])}
        self._types = by_text(types_of(current)) if current else {}
        self._lacks: dict[str, str] = {}
        self._make: Mapping[str, Callable[[Described, str], Node]] = {
            "step": self._step_node,
            "for_each": self._loop,
            "child": self._child_node,
            "transform": self._transform,
            "when": self._when,
            "otherwise": self._otherwise,
            "parallel": self._parallel,
            "wait_for_event": self._wait,
            "sleep": self._sleep,
            "sleep_until": self._sleep_until,
            "emit": self._emit,
            "hook": self._hook,
        }
        self._slots: dict[str, int] = {"": 0}
        self._size = 1
        for node in _flat(stored["nodes"]):
            if node["kind"] in _VALUES:
                self._slots[node["name"]] = self._new_slot()

    def result(self) -> Rebuilt:
        stored, current = self._stored, self._current
        takes, gives = stored["types"]["takes"].get("", ()), stored["types"]["gives"][""]
        input_ = self._codec(takes[0]) if takes else None
        if isinstance(input_, GoneCodec) and current is not None:
            input_ = current.input or input_
        nodes = self._all(stored["nodes"])
        codecs = list(map(self._codec, gives))
        if any(isinstance(codec, GoneCodec) for codec in codecs):
            self._lacks[RESULT] = f"the type of its result, {', '.join(gives)}, is missing"
        parts = iter(codecs)
        operand = stored["result"] and self._operand(stored["result"], RESULT, lambda: next(parts))
        graph = Graph(
            stored["workflow"],
            nodes,
            self._size,
            input_,
            operand,
            codecs[0] if isinstance(operand, Slot) else ANY,
            {self._slots[name]: tuple(map(self._codec, some)) for name, some in stored["types"]["computed"].items()},
            current.handlers if current else {},
        )
        return Rebuilt(graph, self._lacks)

    def _all(self, described: Iterable[Described]) -> tuple[Any, ...]:
        return tuple(self._node(each) for each in described)

    def _node(self, node: Described) -> Node:
        make = self._make.get(node["kind"])
        if make is None:
            raise CodecError(f"its graph has a node of an unknown kind, {node['kind']!r}")
        found: Node = make(node, getattr(self._nodes.get(node["name"]), "where", "a former version"))
        return found

    def _step_node(self, node: Described, where: str) -> Node:
        name, step = node["name"], self._step(node)
        return StepNode(name, self._slots[name], self._input(node, step.definition.input), step, where)

    def _loop(self, node: Described, where: str) -> Node:
        name, (items,) = node["name"], self._inputs(node)
        return LoopNode(name, self._slots[name], self._new_slot(), items, self._step(node), node["concurrency"], where)

    def _child_node(self, node: Described, where: str) -> Node:
        name, workflow = node["name"], self._child(node)
        return ChildNode(name, self._slots[name], self._input(node, workflow.graph.input or ANY), workflow, where)

    def _transform(self, node: Described, where: str) -> Node:
        name, fn = node["name"], getattr(self._function(node), "fn", gone_function)
        return TransformNode(name, self._slots[name], self._inputs(node), fn, where)

    def _when(self, node: Described, where: str) -> Node:
        name, fn = node["name"], getattr(self._function(node), "fn", gone_function)
        return WhenNode(name, self._slots[name], self._inputs(node), fn, self._all(node["nodes"]), where)

    def _otherwise(self, node: Described, where: str) -> Node:
        return OtherwiseNode(node["name"], self._slots[node["of"]], node["of"], self._all(node["nodes"]), where)

    def _parallel(self, node: Described, where: str) -> Node:
        return ParallelNode(node["name"], self._all(node["members"]), where)

    def _sleep(self, node: Described, where: str) -> Node:
        return SleepNode(node["name"], timedelta(seconds=node["delay_s"]), None, where)

    def _sleep_until(self, node: Described, where: str) -> Node:
        return SleepNode(node["name"], None, self._input(node, Codec(datetime)), where)

    def _emit(self, node: Described, where: str) -> Node:
        return EmitNode(node["name"], self._inputs(node)[0], node["immediately"], where)

    def _hook(self, node: Described, where: str) -> Node:
        name = node["name"]
        if not isinstance(self._nodes.get(name), HookNode):
            self._lacks[name] = f"hook {name!r} is missing"
        return HookNode(name, self._inputs(node)[0], where)

    def _wait(self, node: Described, where: str) -> Node:
        name, timeout_s, found = node["name"], node["timeout_s"], self._function(node)
        event: type[Event] = GoneEvent
        if isinstance(found, WaitNode):
            event = found.event
        elif not isinstance(codec := self._codec(self._stored["types"]["gives"][name][0]), GoneCodec):
            event = codec.type
        match = getattr(found, "match", gone_function)
        timeout = None if timeout_s is None else timedelta(seconds=timeout_s)
        return WaitNode(name, self._slots[name], event, self._inputs(node)[0], match, timeout, where)

    def _step(self, node: Described) -> BoundStep:
        name, found = node["name"], self._nodes.get(node["name"])
        if not isinstance(found, (StepNode, LoopNode)):
            self._lacks[name] = f"step {name!r} is missing"
            return gone_step(name, node, self._codec(self._stored["types"]["gives"][name][0]))
        step = found.step
        if step.definition.arity and not node["inputs"]:
            self._lacks[name] = f"step {name!r} has changed: it takes an input now"
        on_failure = node["options"]["on_failure"]
        if isinstance(step.settings.on_failure, SkipTo) and step.settings.describe()["on_failure"] != on_failure:
            return step.options(on_failure=on_failure_of(on_failure))  # this graph may have nothing of the new name
        return step

    def _child(self, node: Described) -> WorkflowBase:
        name, found = node["name"], self._nodes.get(node["name"])
        if not isinstance(found, ChildNode) or found.workflow.name != node["workflow"]:
            self._lacks[name] = f"child {name!r} is missing"
            return gone_workflow(node["workflow"])
        if found.workflow.graph.input is not None and not node["inputs"]:
            self._lacks[name] = f"child {name!r} has changed: it takes an input now"
        return found.workflow

    def _function(self, node: Described) -> Node | None:
        """Return the node that has the same function now."""
        name, now = node["name"], self._now.get(node["name"])
        if now is None or now["kind"] != node["kind"]:
            self._lacks[name] = f"{name} is missing"
            return None
        code = self._stored["code"][name]
        same = [code == self._now_codes[name], *(node.get(key) == now.get(key) for key in ("inputs", "event"))]
        if not code:  # it is no Python
            same.append(node["function"] == now["function"])
        if not all(same):
            self._lacks[name] = f"{name} has changed"
            return None
        return self._nodes[name]

    def _input(self, node: Described, codec: Codec) -> Any:
        """Return the one input that a node may have."""
        return self._operand(node["inputs"][0], node["name"], lambda: codec) if node["inputs"] else None

    def _inputs(self, node: Described) -> tuple[Any, ...]:
        types = self._stored["types"]["takes"].get(node["name"], ("typing.Any",))
        return tuple(self._operand(each, node["name"], lambda: self._codec(types[0])) for each in node["inputs"])

    def _operand(self, described: Described, name: str, codec_of_it: Callable[[], Codec]) -> Operand:
        """Return what was described.

        Args:
            described: An operand.
            name: Of the node that has it.
            codec_of_it: Gives the codec of a constant, or of a part of the result.
        """
        if "value" in described:
            codec, data = ANY if name == RESULT else codec_of_it(), described["value"].encode()
            try:
                codec.decode(data)
            except CodecError as error:
                self._lacks.setdefault(name, f"{name} has changed: {error}")
            return Constant(data, codec)
        if "from" in described:
            of, path = described["from"], path_of(described["path"])
            type_ = codec_of_it().type if name == RESULT else Any
            return Slot(self._slots[of], of, type_, path, None, described.get("inside", 0))
        items = tuple(self._operand(each, name, codec_of_it) for each in described["items"])
        return Structure(_KINDS[described["kind"]], tuple(described["keys"]), items)

    def _codec(self, text: str) -> Codec:
        return codec_of(text, self._types)

    def _new_slot(self) -> int:
        self._size += 1
        return self._size - 1


def _flat(nodes: Iterable[Described]) -> Iterator[Described]:
    for node in nodes:
        yield node
        yield from _flat(node.get("members", ()))
        yield from _flat(node.get("nodes", ()))
