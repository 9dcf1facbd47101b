"""What the store in memory promises beyond the contract."""

import asyncio
from datetime import timedelta

from daemon.clock import ManualClock
from daemon.store.memory import MemoryStore
from daemon.store.model import RunStatus
from daemon.store.port import RunFilter
from daemon.store.writes import PutStep, UpdateRun
from tests.contract.records import APP, ME, OTHER, run, started, step


async def test_a_commit_is_applied_before_anybody_awaits_it() -> None:
    store = MemoryStore()

    store.commit(started("1"))

    assert await store.run(APP, "run-1") == run("1")


async def test_awaiting_a_commit_does_not_give_the_turn_away() -> None:
    store = MemoryStore()
    turns: list[str] = []
    asyncio.get_running_loop().call_soon(turns.append, "somebody else's")

    await store.commit(started("1"))

    assert turns == []


async def test_only_the_last_ended_runs_are_kept_and_every_one_that_goes_on() -> None:
    store = MemoryStore(keep_ended=2)
    await store.commit(started("0"))
    for number in range(1, 5):
        await store.commit(started(str(number)), PutStep(step(str(number), "pay")))
        await store.commit(UpdateRun(run(str(number), status=RunStatus.COMPLETED)))

    kept = await store.runs(APP, RunFilter(), after=None, limit=10)

    assert [each.run_id for each in kept] == ["run-4", "run-3", "run-0"]
    assert await store.steps(["key-1"]) == {"key-1": []}
    assert await store.run(APP, "run-1") is None


async def test_a_run_that_goes_on_again_is_kept() -> None:
    store = MemoryStore(keep_ended=1)
    await store.commit(started("1", status=RunStatus.FAILED))
    await store.commit(UpdateRun(run("1", status=RunStatus.COMPENSATING)))

    for number in (2, 3):
        await store.commit(started(str(number), status=RunStatus.COMPLETED))

    kept = await store.runs(APP, RunFilter(), after=None, limit=10)
    assert [each.run_id for each in kept] == ["run-3", "run-1"]


async def test_a_lease_ends_by_the_clock_that_was_given() -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    await store.register(APP, OTHER, lease_s=6)
    await store.commit(started("1", owner=OTHER))

    before = await store.claim_runs(APP, ME, ["place-order"], limit=1)
    clock.advance(timedelta(seconds=6))
    after = await store.claim_runs(APP, ME, ["place-order"], limit=1)

    assert (before, after) == ([], [run("1", owner=ME)])
