"""The recorder of one composition: what steps, refs and helpers call while a workflow is being composed."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from daemon.errors import CodecError, CompositionError
from daemon.workflow.branch import Block, Branch
from daemon.workflow.codec import ANY, Codec
from daemon.workflow.definition import BoundStep
from daemon.workflow.fitting import check_fits
from daemon.workflow.graph import Graph
from daemon.workflow.loop import check_loop
from daemon.workflow.nodes import LoopNode, Member, Node, StepNode, TransformNode, WaitNode, walk
from daemon.workflow.operand import Constant, Operand, Slot, Structure, type_at
from daemon.workflow.pure import check_pure
from daemon.workflow.ref import Ref, hidden_ref
from daemon.workflow.signature import check_label, codec_or_any, hints_of, where_called
from daemon.workflow.skipping import check_skips

_UNLIMITED = 1 << 62
_MAX_TRANSFORM_INPUTS = 5
# What has a value.
Producer = Member | TransformNode | WaitNode
composition: "ContextVar[Composer | None]" = ContextVar("sagad_composition", default=None)


def composing(what: str, instead: str) -> "Composer":
    """Return the composition that is going on.

    Raises:
        CompositionError: None is; says where `what` belongs, and what to write `instead` elsewhere.
    """
    composer = composition.get()
    if composer is None:
        raise CompositionError(
            f"{where_called()}: {what} was called outside a composition. It belongs inside a function decorated with "
            f"@workflow(...), which records it; {instead}."
        )
    return composer


class Composer:
    """Records one workflow.

    Attributes:
        producers: By the slot of a value: the node that makes it.
        blocks: By the same: the block that it is recorded in.
    """

    def __init__(self, workflow: str) -> None:
        self.workflow = workflow
        self._block = Block()
        self._unused: list[Branch] = []
        self._names: dict[str, str] = {}
        self._ordinals: dict[str, int] = {}
        self._slots = 1
        self.producers: dict[int, Producer] = {}
        self.blocks: dict[int, Block] = {}
        self._takers: dict[int, list[Codec]] = {}

    def add_step(self, step: BoundStep, *argument: Any) -> Ref[Any]:
        """Record a use of a step, with its argument if it takes one."""
        where = where_called()
        self.claim(
            step.name, where, f'{where}: use .named("...") for a second use: my_step.named("{step.name}-again")(...)'
        )
        what = f"the input of step {step.name!r}"
        operand = self.take(argument[0], step.definition.input, what, where) if argument else None
        node = StepNode(step.name, self.new_slot(), operand, step, where)
        return self.record(node, step.definition.output.type, f"the output of step {step.name!r}")

    def add_loop(self, items: Any, step: BoundStep, concurrency: int) -> Ref[Any]:
        """Record one call of a step for each item of a list."""
        where = where_called()
        check_loop(items, step, concurrency, where)
        self.claim(step.name, where, f'{where}: use .named("...") for a second use: my_step.named("{step.name}-again")')
        operand = self.own(items, where)
        item = type_at(operand.type, (("[", 0),))
        what = f"the input of step {step.name!r}"
        check_fits(item, step.definition.input.type, subject=f"an item of {items!r}", what=what, where=where)
        self.note_taker(operand, codec_or_any(list[step.definition.input.type]))  # type: ignore[name-defined]
        slot, items_slot = self.new_slot(), self.new_slot()
        node = LoopNode(step.name, slot, items_slot, operand, step, concurrency, where)
        return self.record(node, list[step.definition.output.type], f"the outputs of step {step.name!r}")  # type: ignore[name-defined]

    def add_transform(self, refs: tuple[Any, ...], fn: Callable[..., Any], name: str | None) -> Ref[Any]:
        """Record a pure function of refs."""
        where = where_called()
        if not 1 <= len(refs) <= _MAX_TRANSFORM_INPUTS:
            raise CompositionError(
                f"{where}: transform takes one to {_MAX_TRANSFORM_INPUTS} refs and a function, not {len(refs)} refs."
            )
        operands = tuple(self._input(ref, where) for ref in refs)
        said = "the last argument of transform is the function: transform(a, b, lambda a, b: ...)."
        check_pure(fn, [(repr(ref), ref._operand.type) for ref in refs], "transform", said, where)  # noqa: SLF001
        name = self.name_for("transform", name, where, "transform")
        node = TransformNode(name, self.new_slot(), operands, fn, where)
        type_ = hints_of(fn).get("return", Any) if hasattr(fn, "__annotations__") else Any
        ref = self.record(node, type_, f"the result of {name!r}")
        if type_ is not Any:
            self.note_taker(ref._operand, codec_or_any(type_))  # noqa: SLF001
        return ref

    def add_when(self, ref: Any, predicate: Callable[..., Any], name: str | None) -> Branch:
        """Begin a condition; its node is recorded when its block ends."""
        where = where_called()
        if not isinstance(ref, Ref):
            raise CompositionError(
                f"{where}: when takes a ref and a predicate of its value, not {type(ref).__name__}: "
                "with when(ref, lambda v: ...) as branch:."
            )
        operands = (self.own(ref, where),)
        said = "the predicate of when is a plain function of the ref's value: when(ref, lambda v: v > 1)."
        check_pure(predicate, [(repr(ref), operands[0].type)], "when", said, where)
        name = self.name_for("when", name, where, "when")
        return self.open(Branch(self, name, self.new_slot(), where=where, operands=operands, fn=predicate))

    def open(self, branch: Branch) -> Branch:
        """Note a branch that is to be entered."""
        self._unused.append(branch)
        return branch

    @property
    def block(self) -> Block:
        """The block that is being recorded."""
        return self._block

    def enter(self, branch: Branch, opened: str) -> Block:
        """Begin the block of a branch."""
        if branch not in self._unused:
            raise CompositionError(f"{where_called()}: {opened} is entered a second time; write another when(...).")
        self._unused.remove(branch)
        self._block = Block(self._block, opened)
        return self._block

    def leave(self, node: Node) -> None:
        """End the block that is being recorded, and record what it was in the one around it."""
        self._block = self._block.outer or self._block
        self._block.nodes.append(node)

    def operand(self, value: Any, codec: Codec, what: str, where: str) -> Operand:
        """Return what stands for a ref or a plain value in the graph."""
        if isinstance(value, Ref):
            return self.own(value, where)
        hidden = hidden_ref(value)
        if hidden is not None:
            raise CompositionError(
                f"{where}: {what} has {hidden!r} inside a plain value. Build the value in a run: "
                "transform(ref, lambda v: MyModel(field=v))."
            )
        try:
            data, _ = codec.hold(value, _UNLIMITED, what)
        except CodecError as error:
            raise CompositionError(f"{where}: {error}") from None
        return Constant(data, codec)

    def result(self, value: Any, where: str) -> Operand | None:
        """Return what stands for the workflow's result."""
        if value is None:
            return None
        if isinstance(value, Ref):
            return self.own(value, where)
        if type(value) is dict:
            _check_keys(value, where)
            items = tuple(self._part(item, where) for item in value.values())
            return Structure(dict, tuple(value), items)
        if type(value) in (list, tuple):
            return Structure(type(value), (), tuple(self._part(item, where) for item in value))
        raise CompositionError(
            f"{where}: a workflow returns a ref, a dict, list or tuple of refs, or nothing, not "
            f"{type(value).__name__}. Build the result in a run: return transform(ref, lambda v: ...)."
        )

    def graph(self, input_: Codec | None, result: Operand | None, codec: Codec) -> Graph:
        """Return what was recorded.

        Raises:
            CompositionError: A condition has no block, or a step skips to what does not come later.
        """
        if self._block.outer is not None:
            raise CompositionError(
                f"{self._block.opened} is entered and never left: write `with when(...) as branch:`."
            )
        for branch in self._unused:
            raise CompositionError(f"{branch.where}: nothing is inside: write `with when(...) as branch:`.")
        self.note_taker(result, codec)
        nodes = tuple(self._block.nodes)
        check_skips(self.workflow, nodes)
        return Graph(self.workflow, nodes, self._slots, input_, result, codec, self._computed(nodes))

    def _computed(self, nodes: tuple[Node, ...]) -> dict[int, tuple[Codec, ...]]:
        """Return as what the results of transforms may be stored; those after everything else need not be."""
        last = max((at for at, node in enumerate(nodes) if not isinstance(node, TransformNode)), default=-1)
        slots = [node.slot for node in walk(nodes[: last + 1]) if isinstance(node, TransformNode)]
        return {slot: (*dict.fromkeys(self._takers.get(slot, ())), ANY) for slot in slots}

    def take(self, value: Any, codec: Codec, what: str, where: str) -> Operand:
        """Return what stands in the graph for what is used as a value of the codec's type."""
        operand = self.operand(value, codec, what, where)
        if isinstance(operand, Slot):
            check_fits(operand.type, codec.type, subject=repr(value), what=what, where=where)
        self.note_taker(operand, codec)
        return operand

    def note_taker(self, operand: Operand | None, codec: Codec) -> None:
        """Note as what a value is used."""
        if isinstance(operand, Slot) and not operand.path and codec is not ANY:
            self._takers.setdefault(operand.index, []).append(codec)

    def _part(self, value: Any, where: str) -> Operand:
        if type(value) in (dict, list, tuple) and hidden_ref(value) is not None:
            found = self.result(value, where)
            if found is not None:
                return found
        return self.operand(value, ANY, "the workflow's result", where)

    def _input(self, ref: Any, where: str) -> Slot:
        if isinstance(ref, Ref):
            return self.own(ref, where)
        if hidden_ref(ref) is not None:
            instead = "give it each ref by itself: transform(a, b, lambda a, b: ...)."
        elif callable(ref):
            instead = "do everything in one function, the last argument."
        else:
            instead = "what is known already is there inside the function: transform(ref, lambda v: ...)."
        raise CompositionError(f"{where}: transform takes refs and a function, not {type(ref).__name__}; {instead}")

    def own(self, ref: Ref[Any], where: str) -> Slot:
        """Return what a ref stands for, if it may be used here."""
        if ref._composer is not self:  # noqa: SLF001 - a ref has no public attributes, so that its user finds none
            raise CompositionError(
                f"{where}: {ref!r} belongs to another workflow's composition; pass its value in as an input."
            )
        operand: Slot = ref._operand  # noqa: SLF001
        block = operand.block
        if isinstance(block, Block) and block not in self._block.around():
            raise CompositionError(
                f"{where}: {ref!r} is made inside {block.opened} and is not there if that does not run. Outside of it, "
                "write branch.output(ref), with the name after `as` for branch."
            )
        return operand

    def record(self, node: Producer, type_: Any, label: str) -> Ref[Any]:
        """Record a node, and return the ref of its value."""
        self._block.nodes.append(node)
        self.producers[node.slot] = node
        self.blocks[node.slot] = self._block
        return Ref(self, Slot(node.slot, node.name, type_, block=self._block), label)

    def claim(self, name: str, where: str, hint: str) -> None:
        """Note a name as used. Raises `CompositionError` if it is already."""
        if name in self._names:
            raise CompositionError(
                f"The name {name!r} is used twice in workflow {self.workflow!r}: at {self._names[name]} and at {hint}."
            )
        self._names[name] = where

    def name_for(self, kind: str, name: str | None, where: str, helper: str) -> str:
        """Return the name that a node was given, or one by its kind and ordinal, and note it as used."""
        if name is None:
            self._ordinals[kind] = self._ordinals.get(kind, 0) + 1
            name = f"{kind}-{self._ordinals[kind]}"
        else:
            check_label(name, where)
        self.claim(name, where, f'{where}: give one of them another name: {helper}(..., name="...")')
        return name

    def new_slot(self) -> int:
        """Return the place of another value in a run."""
        self._slots += 1
        return self._slots - 1


def _check_keys(value: dict[Any, Any], where: str) -> None:
    wrong = next((key for key in value if not isinstance(key, str)), None)
    if wrong is not None:
        raise CompositionError(
            f"{where}: a workflow's result has the key {wrong!r}, and keys of JSON are texts: write {str(wrong)!r}."
        )
