"""Loops whose process dies: no item that was stored is called again, and what follows gets the outputs of all."""

import asyncio
from typing import Any

import pytest

from daemon import Ref, RunStatus, SourceStep, for_each, step, transform, when, workflow
from daemon.clock import ManualClock
from daemon.store.port import Store
from daemon.workflow.workflow import Workflow
from tests.contract.engine.mortal import Mortal, living
from tests.contract.engine.processes import Journal, until
from tests.contract.engine.test_loops import Loop


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("committed", [False, True])
async def test_a_crash_at_any_commit_repeats_no_item_that_was_stored(
    store: Store, clock: ManualClock, *, fails: bool, committed: bool
) -> None:
    heir = await living(store, clock, "heir")
    for at in range(1, 100):
        loop, last = Loop(), Journal()
        after = last.failing("last") if fails else last.step("last")
        pack_and_go = _pack_and_go(loop, after)
        mortal = Mortal(store, clock, at=at, committed=committed)
        starting = pack_and_go(mortal.process.container).run([1, 2, 3, 4, 5], run_id=f"run-{at}", raise_on_error=False)
        died = await mortal.live(starting)
        stored = [s.name for writes in mortal.store.commits for s in _completed(writes)]
        claimed = await heir.take_over(pack_and_go)
        await until(lambda: not heir.engine.running)
        if not claimed and not loop.did:
            continue
        run = await heir.engine.get(f"run-{at}")

        assert run.status is (RunStatus.REVERTED if fails else RunStatus.COMPLETED)
        for name in stored:
            assert len([each for each in loop.did if each.startswith(f"{name}:")]) == 1
        if fails:
            assert sorted(run.compensated) == [f"pack[{index}]" for index in range(5)]
        else:
            assert run.result == [f"packed {number}" for number in (1, 2, 3, 4, 5)]
        if not died:
            return
    pytest.fail("it never ran to its end")


class Count:
    """What no JSON stands for: a transform that gives one is evaluated again after a crash."""

    def __init__(self, packed: list[str] | None) -> None:
        self.number = len(packed or [])


async def test_what_is_made_of_a_loop_after_a_crash_is_made_of_its_outputs(store: Store, clock: ManualClock) -> None:
    loop, stuck = Loop(), asyncio.Event()

    @step("report")
    async def report() -> None:
        if not stuck.is_set():
            stuck.set()
            await asyncio.Event().wait()

    @workflow("count-packed")
    def count_packed(numbers: Ref[list[int]]) -> Ref[int]:
        with when(numbers, bool) as some:
            packed = for_each(numbers, loop.step)
        count = transform(some.output(packed), Count)
        report()
        return transform(count, lambda c: c.number)

    first, heir = await living(store, clock, "first"), await living(store, clock, "heir")
    await count_packed(first.container).run([1, 2, 3], run_id="count-1", wait=False)
    await stuck.wait()
    await first.die()
    await heir.take_over(count_packed)
    run = await count_packed(heir.container).run([1, 2, 3], run_id="count-1", wait=True)

    assert run.result == 3


def _pack_and_go(loop: Loop, after: SourceStep[str, str]) -> Workflow[list[int], list[str]]:
    @workflow("pack-and-go")
    def pack_and_go(numbers: Ref[list[int]]) -> Ref[list[str]]:
        packed = for_each(numbers, loop.step, concurrency=2)
        after()
        return packed

    return pack_and_go


def _completed(writes: Any) -> list[Any]:
    records = [write.record for write in writes if type(write).__name__ == "PutStep"]
    return [each for each in records if each.name.startswith("pack[") and each.output is not None]
