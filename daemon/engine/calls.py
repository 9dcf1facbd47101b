"""Steps that a node becomes when a run reaches it: a loop's calls, one for each item; a hook's handlers."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from daemon.engine.edited import edited_items
from daemon.workflow.codec import Codec, Held, taken
from daemon.workflow.definition import BoundStep
from daemon.workflow.nodes import HookNode, LoopNode, Node, StepNode
from daemon.workflow.operand import Slot

if TYPE_CHECKING:
    from daemon.engine.execution import Execution


def item_of(run: "Execution", loop: LoopNode, index: int) -> StepNode:
    """Return a loop's call for one item."""
    calls = run.calls.setdefault(loop.name, {})
    found = calls.get(str(index))
    if found is None:
        run.values.append(None)
        item = Slot(loop.items_slot, loop.name, Any, (("[", index),))
        found = StepNode(f"{loop.name}[{index}]", len(run.values) - 1, item, loop.step, loop.where)
        calls[str(index)] = found
    return found


def handlers_of(run: "Execution", hook: HookNode) -> list[StepNode]:
    """Return what runs at a hook, in order."""
    return [_handler(run, hook, step) for step in run.workflow.handlers.get(hook.name, ())]


def handlers_ahead(run: "Execution", hook: HookNode) -> list[StepNode]:
    """Return what runs at a hook, in order, without what was added after the run had passed it."""
    is_passed = hook.name in run.passed
    return [each for each in handlers_of(run, hook) if not is_passed or each.name in run.steps]


def _handler(run: "Execution", hook: HookNode, step: BoundStep) -> StepNode:
    calls = run.calls.setdefault(hook.name, {})
    found = calls.get(step.name)
    if found is None:
        run.values.append(None)
        argument = hook.operand if step.definition.arity else None
        found = calls[step.name] = StepNode(step.name, len(run.values) - 1, argument, step, step.definition.where)
    return found


def call_named(run: "Execution", name: str) -> StepNode | None:
    """Return the call that a stored checkpoint is of: `step[0]`, `order-validated[workflows.crm.notify]`."""
    of, _, call = name.partition("[")
    node = run.graph.by_name.get(of) if call else None
    if isinstance(node, LoopNode):
        return item_of(run, node, int(call[:-1]))
    if isinstance(node, HookNode):
        return next((each for each in handlers_of(run, node) if each.name == name), None)
    return None


def items_of(run: "Execution", loop: LoopNode) -> list[StepNode]:
    """Return a loop's calls, one for each item of the list.

    Raises:
        TypeError: It is no list.
    """
    edited = run.edited.get(loop.name)
    items = loop.items.resolve(run.values) if edited is None else edited_items(loop).decode(edited)
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
    """Iterate over the steps among nodes, and in the place of loops and hooks over their calls as far as there are any.

    What is inside other nodes is left out.
    """
    for node in nodes:
        if isinstance(node, StepNode):
            yield node
        elif isinstance(node, (LoopNode, HookNode)):
            yield from run.calls.get(node.name, {}).values()
