"""Plans as real workflows, whose effects end when they are told to."""

import asyncio
import itertools
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from operator import itemgetter
from typing import Any

from daemon import (
    PermanentFailure,
    Ref,
    Retry,
    SkipTo,
    StepContext,
    StepResponse,
    for_each,
    parallelize,
    step,
    transform,
    wait_for_event,
    when,
    workflow,
)
from daemon.clock import ManualClock, Timer
from daemon.workflow.workflow import Workflow
from tests.contract.engine.outside import Paid
from tests.contract.engine.plan import (
    CONTINUE,
    ROLLBACK,
    Child,
    Gives,
    Loop,
    Node,
    Parallel,
    Step,
    Transform,
    Wait,
    When,
    doing,
    undoing,
)

STEP_TIMEOUT = timedelta(days=1)  # longer: it is rung by hand, and the clock moves for the run's only
Items = dict[str, list[int]]
Children = dict[str, Workflow[Items, None]]
_numbers = itertools.count(1)


class AlarmClock(ManualClock):
    """A clock that stands still, and whose timers are rung one by one."""

    def __init__(self) -> None:
        super().__init__()
        self._set: dict[tuple[asyncio.Task[Any] | None, float], Callable[[], object]] = {}

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Timer:
        self._set[asyncio.current_task(), delay_s] = callback
        return super().call_later(delay_s, callback)

    def ring(self, task: asyncio.Task[Any] | None, delay: timedelta) -> None:
        """Call back what a task has set last to be called after this delay."""
        self._set[task, delay.total_seconds()]()


class Stage:
    """Where the effects of one run wait until they are told to end.

    Attributes:
        going: The effects that are going on.
    """

    def __init__(self) -> None:
        self.going: dict[str, tuple[asyncio.Future[None], asyncio.Task[Any] | None]] = {}

    async def play(self, effect: str) -> None:
        """Be an effect until it is told to end."""
        told = asyncio.get_running_loop().create_future()
        assert effect not in self.going
        self.going[effect] = told, asyncio.current_task()
        await told

    def end(self, effect: str, clock: AlarmClock | None = None) -> None:
        """Tell an effect to end; with a clock, its time is over."""
        told, task = self.going.pop(effect)
        if clock is None:
            told.set_result(None)
        else:
            clock.ring(task, STEP_TIMEOUT)


def composed(nodes: Sequence[Node], stage: Stage, timeout: timedelta | None = None) -> Workflow[Items, None]:
    """Return a plan as a workflow of a name of its own; it takes the items of its loops."""
    children = {node.name: composed(node.nodes, stage) for node in _flat(nodes) if isinstance(node, Child)}

    @workflow(f"plan-{next(_numbers)}", timeout=timeout)
    def plan(items: Ref[Items]) -> None:
        _compose(nodes, items, stage, children)

    return plan


def _compose(nodes: Sequence[Node], items: Ref[Items], stage: Stage, children: Children) -> list[Any]:
    """Record nodes, and return the refs of those that may be members of a group."""
    refs: list[Any] = []
    for node in nodes:
        match node:
            case Step():
                refs.append(_step(node, [node], stage)(items))
            case Loop(name=name, step=like, calls=calls, concurrency=concurrency):
                each = _step(like, calls, stage)
                refs.append(for_each(items.pick(itemgetter(name)), each, concurrency=concurrency))
            case Child(name=name):
                refs.append(children[name].as_step(items, name=name))
            case Wait(name=name):
                wait_for_event(Paid, key=name, match=_order, name=name)
            case Transform(name=name, fails=fails):
                transform(items, _raise if fails else _hold, name=name)
            case Parallel(name=name, members=members):
                parallelize(*_compose(members, items, stage, children), name=name)
            case When(name=name, holds=holds):
                with when(items, _SAYS[holds], name=name) as branch:
                    _compose(node.nodes, items, stage, children)
                with branch.otherwise():
                    _compose(node.otherwise, items, stage, children)
    return refs


def _raise(_: Items) -> bool:
    raise ValueError


def _order(event: Paid) -> str:
    return event.order_id


def _hold(_: Items) -> bool:
    return True


def _not_hold(_: Items) -> bool:
    return False


_SAYS = {True: _hold, False: _not_hold, None: _raise}


def _step(like: Step, calls: Sequence[Step], stage: Stage) -> Any:
    """Return a step, with what it does call by call."""
    plans = {call.name: call for call in calls}
    is_skip = like.on_failure not in {ROLLBACK, CONTINUE}
    on_failure: Any = SkipTo(like.on_failure) if is_skip else like.on_failure

    @step(
        like.name,
        retry=Retry(max_attempts=len(like.gives)),
        compensation_retry=Retry(max_attempts=max(1, len(like.undo))),
        timeout=STEP_TIMEOUT if any("late" in call.gives for call in calls) else None,
        on_failure=on_failure,
    )
    async def act(_: object, ctx: StepContext) -> StepResponse[str, str]:
        await stage.play(doing(ctx.step, ctx.attempt))
        return _given(plans[ctx.step].gives[ctx.attempt - 1])

    async def undo(data: object, ctx: StepContext) -> None:
        await stage.play(undoing(ctx.step, ctx.attempt, data))
        _given(like.undo[ctx.attempt - 1])

    async def undo_something(data: str, ctx: StepContext) -> None:
        await undo(data, ctx)

    if like.undo:
        act.compensate(undo if like.takes_none else undo_something)
    return act


def _given(gives: Gives) -> StepResponse[str, str]:
    """Do what an attempt does once it has ended."""
    match gives:
        case "ok":
            return StepResponse("output")
        case "skip":
            return StepResponse.skip()
        case "partial":
            raise PermanentFailure("it broke halfway", compensate_input="partial")
        case "final":
            raise PermanentFailure("it broke for good")
    raise ValueError


def items_of(nodes: Sequence[Node]) -> Items:
    """Return what the loops of a plan go over."""
    items: Items = {}
    for node in _flat(nodes):
        if isinstance(node, Loop):
            items[node.name] = list(range(len(node.items)))
        elif isinstance(node, Child):
            items |= items_of(node.nodes)
    return items


def _flat(nodes: Sequence[Node]) -> Iterator[Node]:
    """Iterate over nodes and those in their blocks and groups, but not in their children."""
    for node in nodes:
        yield node
        if isinstance(node, When):
            yield from _flat((*node.nodes, *node.otherwise))
        elif isinstance(node, Parallel):
            yield from node.members
