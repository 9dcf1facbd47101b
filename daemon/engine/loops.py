"""The calls of a step in a loop: each is a step of its own, made when the list is known."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from daemon.workflow.codec import Codec, Held, taken
from daemon.workflow.nodes import LoopNode, Node, ParallelNode, StepNode
from daemon.workflow.ref import Slot

if TYPE_CHECKING:
    from daemon.engine.execution import Execution


def item_of(run: "Execution", loop: LoopNode, index: int) -> StepNode:
    """Return a loop's call for one item."""
    items = run.items.setdefault(loop.name, {})
    found = items.get(index)
    if found is None:
        run.values.append(None)
        item = Slot(loop.items_slot, loop.name, Any, (("[", index),))
        found = StepNode(f"{loop.name}[{index}]", len(run.values) - 1, item, loop.step, loop.where)
        items[index] = found
    return found


def item_named(run: "Execution", name: str) -> StepNode | None:
    """Return the call that a stored checkpoint is of: `step[0]`."""
    of, _, index = name.partition("[")
    loop = run.workflow.graph.by_name.get(of)
    return item_of(run, loop, int(index[:-1])) if isinstance(loop, LoopNode) and index else None


def items_of(run: "Execution", loop: LoopNode) -> list[StepNode]:
    """Return a loop's calls, one for each item of the list.

    Raises:
        TypeError: It is no list.
    """
    items = loop.items.resolve(run.values)
    if not isinstance(items, (list, tuple)):
        msg = f"for_each goes over a list, and got {type(items).__name__}"
        raise TypeError(msg)
    run.values[loop.items_slot] = items
    return [item_of(run, loop, index) for index in range(len(items))]


def keep_outputs(run: "Execution", loop: LoopNode, items: list[StepNode]) -> None:
    """Keep the list of the outputs of all calls; that of a skipped one is None."""
    outputs = [run.steps[item.name].output or b"null" for item in items]
    codec = Codec(list[loop.step.definition.output.type | None])  # type: ignore[name-defined]
    fresh = [taken(run.values[item.slot]) for item in items]
    run.values[loop.slot] = Held(b"[" + b",".join(outputs) + b"]", codec, fresh)


def begun(run: "Execution", nodes: Iterable[Node]) -> Iterator[StepNode]:
    """Iterate over the steps of nodes, and in the place of loops over their calls as far as there are any."""
    for node in nodes:
        if isinstance(node, StepNode):
            yield node
        elif isinstance(node, LoopNode):
            yield from run.items.get(node.name, {}).values()
        elif isinstance(node, ParallelNode):
            yield from begun(run, node.members)
