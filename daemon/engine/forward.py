"""Forward: walks a graph, node by node."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from itertools import takewhile
from typing import Any, NoReturn

from daemon.engine.abreast import do_abreast
from daemon.engine.calls import handlers_ahead, items_of, keep_outputs
from daemon.engine.children import do_child
from daemon.engine.computed import compute, decide
from daemon.engine.control import Failed, Fenced, Stopped, together
from daemon.engine.emitting import emit
from daemon.engine.execution import Execution
from daemon.engine.stepping import do_step, give_up, is_past
from daemon.engine.unfinished import names_of
from daemon.engine.waiting import do_sleep, do_wait
from daemon.workflow.nodes import (
    ChildNode,
    EmitNode,
    HookNode,
    LoopNode,
    Member,
    Node,
    OtherwiseNode,
    ParallelNode,
    SleepNode,
    StepNode,
    TransformNode,
    WaitNode,
    WhenNode,
)


async def go_forward(run: Execution) -> None:
    """Run every node that has not run yet, in the graph's order.

    Raises:
        Failed: A node has finally failed; nothing of the run is running any more.
        Parked: The run waits for long; nothing of it is running any more.
        Fenced: Another process has taken the run over.
    """
    await _walk(run, run.graph.nodes)
    if run.stop is not None:
        raise asyncio.CancelledError  # the last step did not let itself be cancelled
    if run.failing:
        raise Failed


async def _walk(run: Execution, nodes: tuple[Node, ...]) -> None:
    for node in nodes:
        if run.failing:
            raise Failed  # somebody cancelled the run
        if run.skips:
            run.skips -= names_of(node)
            if run.skips:
                continue
        kind = type(node)
        if kind is StepNode:
            await do_step(run, node)  # type: ignore[arg-type]
        elif kind is TransformNode:
            _transform(run, node)  # type: ignore[arg-type]
        else:
            await _DO[kind](run, node)


async def _emit(run: Execution, node: EmitNode) -> None:
    if is_past(run, node):
        return
    try:
        emit(run, node)
    except Exception as error:  # noqa: BLE001 - a pick into what is not there, what is no event, or too large a one
        give_up(run, node.name, error)


async def _hook(run: Execution, node: HookNode) -> None:
    for handler in handlers_ahead(run, node):
        await do_step(run, handler)


async def _child(run: Execution, node: ChildNode) -> None:
    await do_child(run, node, go_forward)


async def _block(run: Execution, node: WhenNode | OtherwiseNode) -> None:
    if _is_taken(run, node):
        await _walk(run, node.nodes)


def _transform(run: Execution, node: TransformNode) -> None:
    try:
        compute(run, node)
    except Exception as error:  # noqa: BLE001 - whatever the application's function raises fails the run
        give_up(run, node.name, error)


def _is_taken(run: Execution, node: WhenNode | OtherwiseNode) -> bool:
    if isinstance(node, OtherwiseNode):
        return run.values[node.slot] is False
    try:
        return decide(run, node)
    except Exception as error:  # noqa: BLE001 - whatever the application's predicate raises fails the run
        give_up(run, node.name, error)


async def _parallel(run: Execution, node: ParallelNode) -> None:
    """Run the members at the same time; all have ended, one way or another, when it returns or raises."""
    ahead = [each for each in node.members if not is_past(run, each)]
    is_effectful = any(_is_effectful(each) for each in ahead)
    if is_effectful and not run.journal.is_clear:
        await run.journal.flush()  # once and for all of them: none may start before it is durable
    work = [partial(_DO[type(each)], run, each) for each in ahead]
    in_place = len(list(takewhile(_ends_at_once, ahead)))
    stopped = await do_abreast(run, work, limit=len(work), in_place=in_place, writes=is_effectful)
    if stopped:
        _stop(run, stopped)


def _ends_at_once(member: Member) -> bool:
    """Tell whether nothing of the application in a member can wait."""
    return isinstance(member, StepNode) and _awaits_nothing(member)


def _awaits_nothing(node: StepNode | LoopNode) -> bool:
    return not node.step.definition.needs_task and node.step.settings.timeout is None


def _is_effectful(member: Member) -> bool:
    return isinstance(member, ChildNode) or not member.step.settings.idempotent


async def _loop(run: Execution, node: LoopNode) -> None:
    """Call a step for each item; all calls have ended, one way or another, when it returns or raises."""
    try:
        items = items_of(run, node)
    except Exception as error:  # noqa: BLE001 - a pick into what is not there, or what is no list
        give_up(run, node.name, error)
    ahead = [item for item in items if not is_past(run, item)]
    is_effectful, left = not node.step.settings.idempotent, len(ahead)
    if is_effectful and ahead and not run.abreast and not run.journal.is_clear:
        await run.journal.flush()

    async def call(item: StepNode) -> None:
        nonlocal left
        await do_step(run, item)
        left -= 1
        if left and is_effectful and run.journal.pending:
            await run.journal.flush()  # a crash repeats no finished item, however long the others take

    in_place = len(ahead) if _awaits_nothing(node) else 0
    stopped = await do_abreast(run, [partial(call, item) for item in ahead], limit=node.concurrency, in_place=in_place)
    if stopped:
        _stop(run, stopped)
    if run.failing:
        raise Failed
    keep_outputs(run, node, items)


def _stop(run: Execution, stopped: list[Stopped]) -> NoReturn:
    """Raise what a group's members stopped for."""
    for why in stopped:
        if isinstance(why, Fenced):
            raise why
    if run.failing:
        raise Failed
    raise together(stopped)


_DO: dict[type[Node], Callable[[Execution, Any], Coroutine[Any, Any, None]]] = {
    StepNode: do_step,
    LoopNode: _loop,
    ChildNode: _child,
    ParallelNode: _parallel,
    WhenNode: _block,
    OtherwiseNode: _block,
    SleepNode: do_sleep,
    WaitNode: do_wait,
    EmitNode: _emit,
    HookNode: _hook,
}
