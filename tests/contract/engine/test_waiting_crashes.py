"""A process that dies at any commit of a run that sleeps, waits for an event and asks somebody: it ends the same."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from daemon import Ref, RunStateError, RunStatus, Workflow, parallelize, sleep, transform, wait_for_event, workflow
from daemon.clock import ManualClock
from daemon.store.model import RunRecord, StepRecord, StepState
from daemon.store.port import Store
from tests.contract.engine.asking import Approval, asking
from tests.contract.engine.mortal import Mortal, cancelled, living
from tests.contract.engine.outside import DAY, Paid, tell
from tests.contract.engine.processes import APP, Journal, Process, until

RESULT = [17, "Ann"]


class World:
    """Everybody outside: time goes on, what is waited for comes, and who is asked answers, but not before."""

    def __init__(self, gate: Process, clock: ManualClock, flow: Workflow[str, Any], run_id: str) -> None:
        gate.engine.register([flow])
        self._gate = gate
        self._clock = clock
        self.flow = flow
        self.run_id = run_id

    async def turn_until_ended(self, process: Process) -> RunRecord:
        """Do what the run waits for, over and over, and return it once it has ended."""
        while (record := await self._gate.store.run(APP, self.run_id)) is None or not record.status.ended:
            for run_id, step in await self._waiting(record):
                await self._serve(run_id, step)
            await process.engine.heed()
            await asyncio.sleep(0.001)
        await until(lambda: not process.engine.running)
        return record

    async def _waiting(self, record: RunRecord | None) -> list[tuple[str, StepRecord]]:
        if record is None:
            return []
        children = (await self._gate.store.children([record.key]))[record.key]
        ids = {each.key: each.run_id for each in (record, *children)}
        steps = await self._gate.store.steps(list(ids))
        return [(ids[key], step) for key in ids for step in steps[key] if step.state is StepState.WAITING]

    async def _serve(self, run_id: str, step: StepRecord) -> None:
        if step.kind == "sleep":
            late_us = max(0, (step.due_us or 0) - self._clock.now_us())
            self._clock.advance(timedelta(microseconds=late_us))
        elif step.kind == "wait":
            await tell(self._gate, Paid(order_id=self.run_id, cents=17), f"paid-{self.run_id}")
        else:
            try:
                await self._gate.engine.complete_step(run_id, step.name, Approval(by="Ann"))
            except RunStateError:
                return  # it was reported in the turn before


def _in_sequence(journal: Journal, *, fails: bool) -> Workflow[str, Any]:
    first, ask = journal.step("first"), asking(journal, timeout=10 * DAY)
    last = journal.failing("last") if fails else journal.step("last")

    @workflow("in-sequence")
    def in_sequence(order_id: Ref[str]) -> Ref[Any]:
        first()
        sleep(DAY)
        paid = wait_for_event(Paid, key=order_id, match=lambda event: event.order_id, timeout=10 * DAY)
        answer = ask("a")
        sleep(timedelta(seconds=10))
        last()
        return transform(paid, answer, lambda p, a: [p.cents, a.by])

    return in_sequence


def _in_a_group(journal: Journal, *, fails: bool) -> Workflow[str, Any]:
    first, ask, side = journal.step("first"), asking(journal), journal.step("side")
    last = journal.failing("last") if fails else journal.step("last")

    @workflow("sleeper")
    def sleeper() -> None:
        sleep(DAY)
        side()

    @workflow("waiter")
    def waiter(order_id: Ref[str]) -> Ref[Paid]:
        return wait_for_event(Paid, key=order_id, match=lambda event: event.order_id)

    @workflow("in-a-group")
    def in_a_group(order_id: Ref[str]) -> Ref[Any]:
        first()
        paid, answer, _ = parallelize(waiter.as_step(order_id), ask("a"), sleeper.as_step())
        last()
        return transform(paid, answer, lambda p, a: [p.cents, a.by])

    return in_a_group


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("compose", [_in_sequence, _in_a_group])
async def test_a_run_that_waits_survives_a_crash_at_any_commit(
    store: Store, clock: ManualClock, *, compose: Callable[..., Workflow[str, Any]], fails: bool, committed: bool
) -> None:
    heir, gate = await living(store, clock, "heir"), await living(store, clock, "gate")
    for at in range(1, 100):
        journal = Journal()
        world = World(gate, clock, compose(journal, fails=fails), f"run-{at}")
        mortal = Mortal(store, clock, at=at, committed=committed)
        died = await mortal.live(_to_its_end(world, mortal.process))
        before = list(journal)
        await heir.take_over(world.flow)
        record = await store.run(APP, world.run_id)
        if record is None:  # not even its start was durable
            await world.flow(heir.container).run(world.run_id, run_id=world.run_id, wait=False)
        record = await world.turn_until_ended(heir)
        run = await heir.engine.get(world.run_id)

        assert (run.attempt, run.status) == (1, RunStatus.REVERTED if fails else RunStatus.COMPLETED)
        if not fails:
            assert run.result == RESULT
        _check(before, journal[len(before) :], fails=fails)
        if not died:
            assert at > len(mortal.store.commits)
            return
    pytest.fail("it never ran to its end")


async def _to_its_end(world: World, process: Process) -> None:
    flow = world.flow(process.container)
    running = asyncio.create_task(flow.run(world.run_id, run_id=world.run_id, wait=True, raise_on_error=False))
    try:
        await world.turn_until_ended(process)
        await running
    finally:
        await cancelled(running)


def _check(before: list[str], after: list[str], *, fails: bool) -> None:
    """Every effect happened, in order; only what was in doubt at the crash happened twice."""
    effects = before + after
    once = list(dict.fromkeys(effects))
    forward = [name for name in once if not name.startswith("undo")]
    assert (forward[0], forward[-1]) == ("first", "last")
    assert {"first", "ask a 1", "last"} <= set(forward) <= {"first", "side", "ask a 1", "last"}
    back = {name.partition(" ")[2].partition(" ")[0] for name in once if name.startswith("undo")}
    assert back == ({name.partition(" ")[0] for name in forward} - {"last"} if fails else set())
    repeated = {name for name in once if effects.count(name) > 1}
    stages: list[set[str]] = [
        {"first"},
        {"ask a 1", "side"},
        {"last"},
        {"undo ask Ann", "undo side"},
        {"undo first"},
    ]
    assert any(repeated <= stage for stage in stages), effects
    if any(name.startswith("undo") for name in before):
        assert all(name.startswith("undo") for name in after), "a rollback never turns forward again"
