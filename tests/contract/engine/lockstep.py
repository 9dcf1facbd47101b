"""Plans as real workflows, and their runs side by side with the model."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Literal

from daemon.store.memory import MemoryStore
from daemon.store.model import StepRecord
from daemon.store.port import Store
from daemon.workflow.run import WorkflowRun
from tests.contract.engine.model import Model
from tests.contract.engine.outside import Paid, tell
from tests.contract.engine.plan import Node, awaiting
from tests.contract.engine.processes import APP, Process
from tests.contract.engine.seen import Seen
from tests.contract.engine.stage import AlarmClock, Stage, composed, items_of

RUN_TIMEOUT = timedelta(hours=1)
Look = dict[str, Any]
Stop = tuple[Literal["cancel", "timeout"], int] | None
"""What ends a run from outside, and before the how manieth effect ends."""
_TURNS = 30  # of the loop: so soon the engine has begun, in memory, whatever it begins
_numbers = itertools.count(1)


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

    async def going() -> set[str]:
        clock.advance(timedelta(0))  # a timer that was set when it was due already
        return stage.going.keys() | await _awaited(process, plan.name)

    starting = plan(process.container).run(items_of(nodes), run_id=plan.name, wait=True, raise_on_error=False)
    running = asyncio.create_task(starting)
    try:
        for at, choice in enumerate(itertools.cycle(choices)):
            # In memory, what does not wait for an event has begun by now.
            is_prompt = isinstance(store, MemoryStore) and not expected.awaited
            await _in_step(going, expected, running, patience_s=0.0 if is_prompt else 5.0)
            if not expected.going:
                break
            if stop == ("cancel", at):
                expected.cancel()
                await process.engine.cancel(plan.name)
                if expected.awaited:
                    continue  # that has ended
            if stop == ("timeout", at) and expected.forward:
                expected.run_out()
                stage.going.clear()
                clock.advance(RUN_TIMEOUT)
            else:
                effect = sorted(expected.going)[choice % len(expected.going)]
                expected.end(effect)
                if effect in expected.awaited:
                    await tell(process, Paid(order_id=expected.awaited[effect]), effect)
                else:
                    stage.end(effect, clock if effect in expected.late else None)

        return await _seen(process, await running, expected.run), _told(expected.run, plan.name)
    finally:
        running.cancel()
        await process.engine.drain(0)


async def _awaited(process: Process, run_id: str) -> set[str]:
    """Return the events that a run waits for, unless it fails: as it is if it is driven, else as it is stored."""
    live = process.engine._live.get(run_id)
    if live is not None:
        steps = [] if live.failing else [step for run in live.tree() for step in run.steps.values()]
    else:
        steps = await _stored(process, run_id)
    return {awaiting(step.name) for step in steps if step.awaits}


async def _stored(process: Process, run_id: str) -> list[StepRecord]:
    record = await process.store.run(APP, run_id)
    if record is None:
        return []
    keys = [record.key, *(child.key for child in (await process.store.children([record.key]))[record.key])]
    return [step for steps in (await process.store.steps(keys)).values() for step in steps]


async def _in_step(
    going: Callable[[], Awaitable[set[str]]], expected: Model, running: asyncio.Task[Any], *, patience_s: float
) -> None:
    """Wait until the effects go on that the model says, and assert that no others do."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    give_up_s = time.monotonic() + patience_s
    seen = await going()
    while seen != expected.going.keys() or not (expected.going or running.done()):
        is_over = running.done() or time.monotonic() > give_up_s
        assert not is_over, f"{seen} instead of {set(expected.going)}"
        await asyncio.sleep(0.001)
        seen = await going()


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
