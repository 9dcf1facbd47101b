"""Plans as real workflows whose effects end when they are told to, and their runs side by side with the model."""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from operator import itemgetter
from typing import Any, Literal

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
    when,
    workflow,
)
from daemon.clock import ManualClock, Timer
from daemon.store.memory import MemoryStore
from daemon.store.port import Store
from daemon.workflow.run import WorkflowRun
from daemon.workflow.workflow import Workflow
from tests.contract.engine.model import Model, Seen
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
    When,
    doing,
    undoing,
)
from tests.contract.engine.processes import Process, until

RUN_TIMEOUT = timedelta(hours=1)
STEP_TIMEOUT = timedelta(days=1)  # longer: it is rung by hand, and the clock moves for the run's only
Look = dict[str, Any]
Items = dict[str, list[int]]
Children = dict[str, Workflow[Items, None]]
Stop = tuple[Literal["cancel", "timeout"], int] | None
"""What ends a run from outside, and before the how manieth effect ends."""
_TURNS = 30  # of the loop: so soon the engine has begun, in memory, whatever it begins
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


async def perform(nodes: Sequence[Node], store: Store, choices: Sequence[int], stop: Stop = None) -> tuple[Look, Look]:
    """Run a plan and the model of it side by side, and return what is seen in the end of the run, and of the model.

    At every moment, the effects that go on have to be the same.

    Args:
        nodes: The plan.
        store: Where its run is kept.
        choices: Which of the effects that are going on ends next, again and again.
        stop: What ends the run from outside.
    """
    clock = AlarmClock()
    process = Process(store, clock, f"process-{next(_numbers)}")
    await process.announce()
    stage, expected = Stage(), Model(nodes)
    plan = composed(nodes, stage, timeout=RUN_TIMEOUT)
    running = asyncio.create_task(plan(process.container).run(_items(nodes), run_id=plan.name, raise_on_error=False))
    try:
        for at, choice in enumerate(itertools.cycle(choices)):
            await _in_step(stage, expected, running, patience_s=0.0 if isinstance(store, MemoryStore) else 5.0)
            if not expected.going:
                break
            if stop == ("cancel", at):
                expected.cancel()
                await process.engine.cancel(plan.name)
            if stop == ("timeout", at) and expected.forward:
                expected.run_out()
                stage.going.clear()
                clock.advance(RUN_TIMEOUT)
            else:
                effect = sorted(expected.going)[choice % len(expected.going)]
                expected.end(effect)
                stage.end(effect, clock if effect in expected.late else None)

        return await _seen(process, await running, expected.run), _told(expected.run, plan.name)
    finally:
        running.cancel()
        await process.engine.drain(0)


async def _in_step(stage: Stage, expected: Model, running: asyncio.Task[Any], *, patience_s: float) -> None:
    """Wait until the effects go on that the model says, and assert that no others do."""

    def is_in_step() -> bool:
        return stage.going.keys() == expected.going.keys() and (bool(expected.going) or running.done())

    for _ in range(_TURNS):
        await asyncio.sleep(0)
    give_up_s = time.monotonic() + patience_s
    await until(lambda: is_in_step() or running.done() or time.monotonic() > give_up_s, within_s=patience_s + 5.0)
    assert stage.going.keys() == expected.going.keys(), f"{set(stage.going)} instead of {set(expected.going)}"


def _items(nodes: Sequence[Node]) -> Items:
    """Return what the loops of a plan go over."""
    items: Items = {}
    for node in _flat(nodes):
        if isinstance(node, Loop):
            items[node.name] = list(range(len(node.items)))
        elif isinstance(node, Child):
            items |= _items(node.nodes)
    return items


def _flat(nodes: Sequence[Node]) -> Iterator[Node]:
    """Iterate over nodes and those in their blocks and groups, but not in their children."""
    for node in nodes:
        yield node
        if isinstance(node, When):
            yield from _flat((*node.nodes, *node.otherwise))
        elif isinstance(node, Parallel):
            yield from node.members


async def _seen(process: Process, run: WorkflowRun[Any], told: Seen) -> Look:
    """Return what is seen of a run and its children."""
    return {
        "status": run.status.value,
        "states": {name: each["state"] for name, each in run.to_json()["steps"].items()},
        "errors": _by_phase([(error.step, error.phase) for error in run.errors]),
        "compensated": run.compensated,
        "children": {
            name: await _seen(process, await process.engine.get(f"{run.run_id}:{name}"), child)
            for name, child in told.children.items()
        },
    }


def _told(run: Seen, name: str) -> Look:
    """Return what the model says of a run of this name and its children."""
    return {
        "status": run.status,
        "states": run.states,
        "errors": _by_phase([(step or name, phase) for step, phase in run.errors]),
        "compensated": run.compensated,
        "children": {name: _told(child, name) for name, child in run.children.items()},
    }


def _by_phase(errors: list[tuple[str, str]]) -> dict[str, list[str]]:
    """Return failed steps in order, and failed compensations without: doubts are noted before, or after, or between."""
    failed = [name for name, phase in errors if phase == "invoke"]
    return {"invoke": failed, "compensate": sorted(name for name, phase in errors if phase == "compensate")}
