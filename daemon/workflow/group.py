"""Parallel groups: steps that are recorded one after the other, and run at the same time."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from daemon.errors import CompositionError
from daemon.workflow.nodes import ChildNode, LoopNode, Member, Node, OtherwiseNode, ParallelNode, StepNode, walk
from daemon.workflow.operand import Slot
from daemon.workflow.ref import Ref
from daemon.workflow.signature import where_called

if TYPE_CHECKING:
    from daemon.workflow.composer import Composer


def add_parallel(composer: "Composer", refs: tuple[Any, ...], name: str | None) -> None:
    """Make the steps that these refs come from one group."""
    where = where_called()
    if not refs:
        raise CompositionError(
            f"{where}: parallelize takes the results of the steps that run at the same time; it got none."
        )
    members = [_member(composer, ref, where) for ref in refs]
    if len(set(map(id, members))) < len(members):
        raise CompositionError(f"{where}: a step is given to parallelize twice.")
    name = composer.name_for("parallel", name, where, "parallelize")
    first = min(composer.block.nodes.index(member) for member in members)
    made_inside = {member.slot for member in members}
    before: list[Node] = []
    for node in composer.block.nodes[first:]:
        if node in members:
            _check_independent(node, made_inside, members, where)
            continue
        if any(slot in made_inside for slot in _slots_of(node)):
            raise CompositionError(
                f"{where}: {node.name!r} was recorded before parallelize(...) and needs one of its members; "
                "write it after the group."
            )
        before.append(node)
    composer.block.nodes[first:] = [*before, ParallelNode(name, tuple(members), where)]


def _member(composer: "Composer", ref: Any, where: str) -> Member:
    if not isinstance(ref, Ref):
        many = isinstance(ref, (list, tuple))
        instead = "parallelize(*refs)" if many else "parallelize(a_step(x), another_step(y))"
        raise CompositionError(f"{where}: parallelize takes results of steps, not {type(ref).__name__}: {instead}.")
    operand = composer.own(ref, where)
    node = composer.producers.get(operand.index)
    if not isinstance(node, (StepNode, LoopNode, ChildNode)) or operand.path:
        raise CompositionError(
            f"{where}: {ref!r} is no step's result; parallelize takes the results of steps, as they are."
        )
    if composer.blocks[node.slot] is not composer.block:
        raise CompositionError(
            f"{where}: step {node.name!r} is in another block; parallelize takes the steps of its own block. What "
            "runs only sometimes can be a member as a workflow that has the condition: my_workflow.as_step(ref)."
        )
    if node not in composer.block.nodes:
        raise CompositionError(f"{where}: step {node.name!r} is in another parallelize(...) already.")
    return node


def _check_independent(node: Node, made_inside: set[int], members: list[Member], where: str) -> None:
    needed = next((slot for slot in _slots_of(node) if slot in made_inside), None)
    if needed is not None:
        other = next(member.name for member in members if member.slot == needed)
        raise CompositionError(
            f"{where}: {node.name!r} needs the result of {other!r}, so they cannot run at the same time."
        )


def _slots_of(node: Node) -> Iterator[int]:
    for each in walk((node,)):
        if not isinstance(each, (ParallelNode, OtherwiseNode)):
            yield from (operand.index for operand in each.operands if isinstance(operand, Slot))
