"""Plans of chance: what a run may consist of, and what each part of it does."""

from collections.abc import Callable, Sequence
from itertools import count
from typing import TypeVar

from hypothesis import strategies as st

from tests.contract.engine.lockstep import Stop
from tests.contract.engine.plan import (
    CONTINUE,
    ROLLBACK,
    Child,
    Gives,
    Loop,
    Member,
    Node,
    Parallel,
    Step,
    Transform,
    Undoes,
    Wait,
    When,
)

T = TypeVar("T")
Draws = Callable[[int, Sequence[str]], Node]
_DEPTH = 2
_OK: Gives = "ok"
_GIVES: list[Gives] = [*[_OK] * 10, "fail", "fail", "final", "partial", "late", "skip"]
_UNDOES: list[tuple[Undoes, ...]] = [("ok",), ("ok",), ("ok",), ("fail", "ok"), ("fail", "fail"), ("final", "ok"), ()]

choices = st.lists(st.integers(0, 5), min_size=4, max_size=12)
stops: st.SearchStrategy[Stop] = st.sampled_from(["", "", "cancel", "timeout"]).flatmap(
    lambda how: st.tuples(st.just(how), st.integers(0, 7)) if how else st.none()
)


@st.composite
def plans(draw: st.DrawFn) -> tuple[Node, ...]:
    """Draw a plan: nodes in blocks in blocks, and what each of them does."""
    return _Drawing(draw).block(_DEPTH, [])


class _Drawing:
    """One plan that is being drawn, from its end, since a step may skip to what is `later`."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self._numbers = count(1)

    def block(self, depth: int, later: Sequence[str]) -> tuple[Node, ...]:
        """Draw some nodes, with blocks inside them down to this depth."""
        flat: list[Draws] = [self._step, self._step, self._step, self._group, self._loop, self._transform, self._wait]
        kinds = [*flat, self._condition, self._child] if depth else flat
        nodes: list[Node] = []
        for _ in range(self._between(0 if depth < _DEPTH else 2, 4)):
            node = self._one_of(kinds)(depth, later)
            nodes.insert(0, node)
            later = [*_targets(node), *later]
        return tuple(nodes)

    def _step(self, _: int, later: Sequence[str]) -> Step:
        return Step(
            self._name("step"),
            self._gives(self._between(1, 2)),
            self._one_of(_UNDOES),
            self._draw(st.booleans()),
            self._one_of([ROLLBACK, ROLLBACK, CONTINUE, *later[:3]]),
        )

    def _transform(self, *_: object) -> Transform:
        return Transform(self._name("compute"), fails=self._between(0, 9) == 9)

    def _wait(self, *_: object) -> Wait:
        return Wait(self._name("wait"))

    def _loop(self, depth: int, later: Sequence[str]) -> Loop:
        step = self._step(depth, later)
        items = tuple(self._gives(len(step.gives)) for _ in range(self._between(0, 4)))
        return Loop(step, items, self._between(1, 4))

    def _group(self, depth: int, later: Sequence[str]) -> Parallel:
        kinds: list[Callable[[int, Sequence[str]], Member]] = [self._step, self._step, self._loop]
        kinds += [self._child] if depth else []
        members = [self._one_of(kinds)(depth, later) for _ in range(self._between(1, 3))]
        return Parallel(self._name("group"), tuple(members))

    def _condition(self, depth: int, later: Sequence[str]) -> When:
        holds = self._one_of([True, True, True, False, False, None])
        return When(self._name("when"), holds, self.block(depth - 1, later), self.block(depth - 1, later))

    def _child(self, depth: int, _: Sequence[str]) -> Child:
        first = self._step(0, [])  # not a transform: whether the members beside it begin, if that fails, is open
        return Child(self._name("child"), (first, *self.block(depth - 1, [])))

    def _one_of(self, options: Sequence[T]) -> T:
        return self._draw(st.sampled_from(options))

    def _between(self, least: int, most: int) -> int:
        return self._draw(st.integers(least, most))

    def _name(self, kind: str) -> str:
        return f"{kind}-{next(self._numbers)}"

    def _gives(self, attempts: int) -> tuple[Gives, ...]:
        return tuple(self._one_of(_GIVES) for _ in range(attempts))


def _targets(node: Node) -> list[str]:
    return [node.name, *(member.name for member in node.members)] if isinstance(node, Parallel) else [node.name]
