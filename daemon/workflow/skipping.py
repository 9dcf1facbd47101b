"""Where a failed step may go on: what `SkipTo` names comes later."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from daemon.errors import CompositionError
from daemon.workflow.definition import SkipTo
from daemon.workflow.nodes import LoopNode, Node, OtherwiseNode, ParallelNode, StepNode, WhenNode, walk

_SHOWN_MAX = 10


class _Place(NamedTuple):
    """A node's place in its block, and its block's in the one around it."""

    nodes: Sequence[Node]
    at: int
    around: "_Place | None"
    places: Mapping[str, tuple[int, int]]

    def comes_before(self, name: str) -> bool:
        """Tell whether a node, or a group's member, of this name comes later, here or in the blocks around."""
        found = self.places.get(name)
        if found is not None and found[0] == id(self.nodes):
            return found[1] > self.at
        return self.around is not None and self.around.comes_before(name)

    def later(self) -> Iterator[str]:
        """Iterate over the names of what comes later, here and in the blocks around."""
        yield from _names(self.nodes[self.at + 1 :])
        if self.around is not None:
            yield from self.around.later()

    def earlier(self) -> Iterator[str]:
        """Iterate over the names of what came before, here and in the blocks around, and of those blocks."""
        yield from _names(self.nodes[: self.at])
        if self.around is not None:
            yield self.around.nodes[self.around.at].name
            yield from self.around.earlier()


def check_skips(workflow: str, nodes: Sequence[Node]) -> None:
    """Raise `CompositionError` for a step that skips to what does not come later, in its block or one around it."""
    _check(workflow, nodes, nodes, None, dict(_places(nodes)))


def _check(
    workflow: str,
    everything: Sequence[Node],
    nodes: Sequence[Node],
    around: _Place | None,
    places: Mapping[str, tuple[int, int]],
) -> None:
    for at, node in enumerate(nodes):
        place = _Place(nodes, at, around, places)
        if isinstance(node, (WhenNode, OtherwiseNode)):
            _check(workflow, everything, node.nodes, place, places)
            continue
        for name, target, where in _skips(node):
            if not place.comes_before(target):
                later = list(place.later())
                shown = ", ".join(later[:_SHOWN_MAX]) + (", ..." if len(later) > _SHOWN_MAX else "")
                shown = shown or 'nothing does, so write on_failure="continue"'
                raise CompositionError(
                    f"{where}: step {name!r} has on_failure=SkipTo({target!r}), but "
                    f"{_instead(workflow, everything, place, name, target)}. Name what comes later in its block or in "
                    f"one around it: {shown}."
                )


def _places(nodes: Sequence[Node]) -> Iterator[tuple[str, tuple[int, int]]]:
    """Iterate over everything that has a name, with the identity of its block and its place in there."""
    for at, node in enumerate(nodes):
        for name in _names((node,)):
            yield name, (id(nodes), at)
        if isinstance(node, (WhenNode, OtherwiseNode)):
            yield from _places(node.nodes)


def _skips(node: Node) -> Iterator[tuple[str, str, str]]:
    """Iterate over the steps of a node that skip, with what they skip to, and where they are."""
    for each in node.members if isinstance(node, ParallelNode) else (node,):
        if isinstance(each, (StepNode, LoopNode)) and isinstance(each.step.settings.on_failure, SkipTo):
            yield each.name, each.step.settings.on_failure.step, each.where


def _instead(workflow: str, everything: Sequence[Node], place: _Place, name: str, target: str) -> str:
    """Say what is there instead of a target that comes later."""
    found = {node.name: node for node in walk(everything)}
    if target not in found:
        return f"workflow {workflow!r} has no {target!r}"
    if target == name:
        return "that is the step itself"
    at = f"{target!r}, at {found[target].where},"
    if target in _names((place.nodes[place.at],)):
        return f"{at} is of the same parallel group"
    return f"{at} comes before it" if target in place.earlier() else f"{at} is inside another block"


def _names(nodes: Sequence[Node]) -> Iterator[str]:
    """Iterate over what may be skipped to: nodes and members of groups, and not what is inside their blocks."""
    for node in nodes:
        yield node.name
        if isinstance(node, ParallelNode):
            yield from (member.name for member in node.members)
