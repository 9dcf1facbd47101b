"""What the store in memory promises beyond the contract."""

import asyncio
from dataclasses import fields
from datetime import timedelta
from typing import Any

from daemon.clock import ManualClock
from daemon.store.memory import MemoryStore
from daemon.store.memory_rows import row_of_run, row_of_step, run_of, step_of
from daemon.store.model import RunRecord, RunStatus, StepRecord, StepState
from daemon.store.port import RunFilter
from daemon.store.writes import FenceRun, InsertRun, PutStep, UpdateChild, UpdateRun
from tests.contract.records import APP, ME, OTHER, came, child, run, started, step


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

    kept = (await store.runs(APP, RunFilter(), after=None, limit=10)).records

    assert [each.run_id for each in kept] == ["run-4", "run-3", "run-0"]
    assert await store.steps(["key-1"]) == {"key-1": []}
    assert await store.run(APP, "run-1") is None


async def test_a_run_that_goes_on_again_is_kept() -> None:
    store = MemoryStore(keep_ended=1)
    await store.commit(started("1", status=RunStatus.FAILED))
    await store.commit(UpdateRun(run("1", status=RunStatus.COMPENSATING)))

    for number in (2, 3):
        await store.commit(started(str(number), status=RunStatus.COMPLETED))

    kept = (await store.runs(APP, RunFilter(), after=None, limit=10)).records
    assert [each.run_id for each in kept] == ["run-3", "run-1"]


async def test_a_run_is_forgotten_with_its_children_and_they_do_not_count_as_ended() -> None:
    store = MemoryStore(keep_ended=1)
    for root in ("1", "2", "going-on"):
        await store.commit(started(root))
        for name in ("a", "b"):
            grown_up = child(f"{root}-{name}", of=root, status=RunStatus.COMPLETED)
            await store.commit(
                FenceRun(f"key-{root}", ME),
                InsertRun(child(f"{root}-{name}", of=root)),
                UpdateChild(grown_up),
                PutStep(step(f"{root}-{name}", "pack", state=StepState.WAITING, awaits="packed")),
            )

    await store.commit(UpdateRun(run("1", status=RunStatus.COMPLETED)))
    before = (await store.runs(APP, RunFilter(), after=None, limit=100)).records
    await store.commit(UpdateRun(run("2", status=RunStatus.COMPLETED)))
    after = (await store.runs(APP, RunFilter(), after=None, limit=100)).records

    assert len(before) == 9
    assert {each.run_id for each in before} - {each.run_id for each in after} == {"run-1", "run-1-a", "run-1-b"}
    assert await store.children(["key-1"]) == {"key-1": []}
    assert await store.steps(["key-1-a"]) == {"key-1-a": []}
    assert await store.run(APP, "run-1-a") is None
    await store.commit(came("s", topic="packed"))
    assert [each.run_id for each in (await store.signalled(APP, ME))[0]] == ["run-going-on"]


async def test_a_lease_ends_by_the_clock_that_was_given() -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    await store.register(APP, OTHER, lease_s=6)
    await store.commit(started("1", owner=OTHER))

    before = await store.claim_runs(APP, ME, ["place-order"], limit=1)
    clock.advance(timedelta(seconds=6))
    after = await store.claim_runs(APP, ME, ["place-order"], limit=1)

    assert (before, after) == ([], [run("1", owner=ME, epoch=1)])


def test_a_row_gives_back_the_record_that_it_was_made_of() -> None:
    runs, steps = [each.name for each in fields(RunRecord)], [each.name for each in fields(StepRecord)]
    one: Any = RunRecord(*runs)  # type: ignore[arg-type] # each field has its own name as its value
    other: Any = StepRecord(*steps)  # type: ignore[arg-type]
    one.status, other.state = RunStatus.FAILED, StepState.SKIPPED

    back = run_of(row_of_run(one)), step_of(row_of_step(other))

    assert back == (one, other)
