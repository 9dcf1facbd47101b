"""Branches: blocks of a composition that run, or do not run, as a predicate says."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Union

from daemon.errors import CompositionError
from daemon.workflow.nodes import Node, OtherwiseNode, WhenNode
from daemon.workflow.operand import Operand, Slot
from daemon.workflow.ref import Ref
from daemon.workflow.signature import where_called

if TYPE_CHECKING:
    from daemon.workflow.composer import Composer

T = TypeVar("T")


class Block:
    """Nodes that are recorded one after the other.

    Attributes:
        outer: The block around it; None around the outermost one, the workflow's own.
        opened: What opened it, and where.
    """

    __slots__ = ("nodes", "opened", "outer")

    def __init__(self, outer: "Block | None" = None, opened: str = "") -> None:
        self.nodes: list[Node] = []
        self.outer = outer
        self.opened = opened

    def around(self) -> "Iterator[Block]":
        """Iterate over this block and all around it, from the inside out."""
        block: Block | None = self
        while block is not None:
            yield block
            block = block.outer


class Branch:
    """One side of a condition: what `when(...)` and `branch.otherwise()` return, to be entered once by `with`."""

    __slots__ = ("_block", "_composer", "_condition", "_fn", "_has_otherwise", "_name", "_operands", "_slot", "where")

    def __init__(
        self,
        composer: "Composer",
        name: str,
        slot: int,
        *,
        where: str,
        operands: tuple[Operand, ...] = (),
        fn: Callable[..., Any] | None = None,
        condition: str = "",
    ) -> None:
        self.where = where
        self._composer = composer
        self._name = name
        self._slot = slot
        self._operands = operands
        self._fn = fn
        self._condition = condition
        self._block: Block | None = None
        self._has_otherwise = False

    def __repr__(self) -> str:
        return f"<branch {self._name!r} at {self.where}>"

    if not TYPE_CHECKING:  # a type checker knows that it would always be true

        def __bool__(self) -> bool:
            raise CompositionError(
                f"{where_called()}: {self!r} is neither true nor false while composing; what depends on it stands in a "
                "block: with when(...) as branch:, or with branch.otherwise() as other:."
            )

    def __enter__(self) -> Self:
        what = f"when(...) {self._name!r}" if self._fn is not None else f"otherwise() of {self._condition!r}"
        self._block = self._composer.enter(self, f"{what} at {self.where}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        nodes = tuple(self._block.nodes) if self._block is not None else ()
        node: Node
        if self._fn is not None:
            node = WhenNode(self._name, self._slot, self._operands, self._fn, nodes, self.where)
        else:
            node = OtherwiseNode(self._name, self._slot, self._condition, nodes, self.where)
        self._composer.leave(node)

    def output(self, ref: Ref[T]) -> "Ref[T | None]":
        """Return what a value made in this branch is outside of it: None in a run in which the branch did not run.

        Raises:
            CompositionError: The value is not made in this branch.
        """
        where = where_called()
        if not isinstance(ref, Ref):
            raise CompositionError(f"{where}: output takes a ref that is made in the branch, not {type(ref).__name__}.")
        operand: Slot = ref._operand  # noqa: SLF001 - a ref has no public attributes, so that its user finds none
        if self._block is None or operand.block is not self._block:
            raise CompositionError(
                f"{where}: {ref!r} is not made in {self!r}. A ref from around the branch is used as it is; one from a "
                "branch inside it is first that branch's output."
            )
        type_ = operand.type if operand.type is Any else Union[operand.type, None]  # noqa: UP007 - known at run time
        found = replace(operand, type=type_, block=self._block.outer, inside=len(operand.path))
        label = ref._label  # noqa: SLF001
        return Ref(self._composer, found, f"{label} if {self._name!r} runs")

    def otherwise(self) -> "Branch":
        """Begin the block that runs in the other case: `with large.otherwise() as small:`.

        Raises:
            CompositionError: It is the other case already, or has one, or the condition is not of this block.
        """
        where = where_called()
        if self._fn is None or self._has_otherwise:
            raise CompositionError(f"{where}: {self!r} has one other case; write another when(...).")
        if self._block is None or self._block.outer is not self._composer.block:
            raise CompositionError(f"{where}: write otherwise() of {self!r} after its block, in the block around it.")
        self._has_otherwise = True
        name = f"{self._name}-otherwise"
        self._composer.claim(name, where, f"{where}: give the condition another name: when(..., name=...)")
        return self._composer.open(Branch(self._composer, name, self._slot, where=where, condition=self._name))
