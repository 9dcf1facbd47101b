"""Children, which the owner of the run at the top drives, and places in workflows that are limited."""

import asyncio

import pytest

from daemon.store.model import QUEUED, RunStatus, StepState
from daemon.store.port import RunFilter, Store
from daemon.store.writes import (
    FenceRun,
    InsertRun,
    Outcome,
    PutStep,
    ReopenRun,
    RequestCancel,
    RequireEnded,
    TakePlace,
    UpdateChild,
    UpdateRun,
    Write,
)
from tests.contract.records import APP, GONE, ME, OTHER, child, names, run, started, step


def queued(name: str, **changes: str) -> InsertRun:
    return started(name, status=RunStatus.WAITING, waiting_for=QUEUED, **changes)


def place(name: str, limit: int) -> TakePlace:
    return TakePlace(f"key-{name}", APP, "place-order", limit)


async def test_all_descendants_of_a_run_come_by_the_run_at_the_top_in_the_order_of_their_keys(store: Store) -> None:
    await store.commit(started("1"), started("2"), started("3"))
    grandchild = child("1a", of="1", parent_key="key-1b")
    await store.commit(FenceRun("key-1", ME), InsertRun(child("1b", of="1")), InsertRun(grandchild))
    await store.commit(FenceRun("key-2", ME), InsertRun(child("2a", of="2")))

    found = await store.children(["key-2", "key-1", "key-3", "key-4"])

    assert found == {
        "key-2": [child("2a", of="2")],
        "key-1": [grandchild, child("1b", of="1")],
        "key-3": [],
        "key-4": [],
    }
    assert await store.children([]) == {}


async def test_a_child_is_a_run_of_its_own_to_whoever_looks(store: Store) -> None:
    await store.commit(started("1"), InsertRun(child("2", of="1")))

    found = await store.run(APP, "run-2")

    assert found == child("2", of="1")
    assert names((await store.runs(APP, RunFilter(), after=None, limit=10)).records) == ["2", "1"]
    assert names((await store.runs(APP, RunFilter(workflow="ship-order"), after=None, limit=10)).records) == ["2"]


async def test_what_may_change_in_a_child_is_replaced_if_its_commit_is_not_fenced(store: Store) -> None:
    await store.commit(started("1"), InsertRun(child("2", of="1")))
    first = child("2", of="1", status=RunStatus.WAITING, waiting_for="a day", wake_us=9)
    last = child("2", of="1", status=RunStatus.COMPLETED, result=b"1", errors=b"[1]", ended_us=9, updated_us=9)

    outcomes = [
        await store.commit(FenceRun("key-1", ME), UpdateChild(first), PutStep(step("2", "pack"))),
        await store.commit(UpdateRun(run("1", updated_us=9)), UpdateChild(last)),
        await store.commit(FenceRun("key-1", OTHER), UpdateChild(first)),
    ]

    assert outcomes == [Outcome.APPLIED, Outcome.APPLIED, Outcome.FENCED]
    assert await store.run(APP, "run-2") == last
    assert await store.steps(["key-2"]) == {"key-2": [step("2", "pack")]}


async def test_a_child_is_not_taken_over_by_itself(store: Store) -> None:
    await store.commit(started("1", owner=GONE), InsertRun(child("2", of="1")))

    claimed = await store.claim_runs(APP, ME, ["place-order", "ship-order"], limit=10)

    assert names(claimed) == ["1"]
    assert await store.run(APP, "run-2") == child("2", of="1")


async def test_a_child_is_not_cancelled_by_itself(store: Store) -> None:
    await store.commit(started("1"), InsertRun(child("2", of="1")))

    outcome = await store.commit(RequestCancel("key-2", 2_000))

    assert outcome is Outcome.CONFLICT
    assert await store.run(APP, "run-2") == child("2", of="1")
    assert await store.cancellations(APP, "") == []


async def test_a_child_that_nobody_owns_is_no_reason_for_a_hint(store: Store) -> None:
    hints: list[str] = []
    last = asyncio.Event()
    await store.commit(started("1"))
    store.on_hint(lambda: hints.append("hint"))
    store.on_hint(last.set)

    await store.commit(FenceRun("key-1", ME), InsertRun(child("2", of="1")))
    await store.commit(FenceRun("key-1", ME), UpdateChild(child("2", of="1", updated_us=2)))
    await store.commit(started("3", owner=""))
    async with asyncio.timeout(5):
        await last.wait()

    assert hints == ["hint"]


async def test_a_run_and_its_children_that_gave_up_are_reopened_together(store: Store) -> None:
    await store.commit(started("1", status=RunStatus.FAILED, ended_us=2_000))
    await store.commit(
        InsertRun(child("2", of="1", status=RunStatus.FAILED, ended_us=2_000)),
        PutStep(step("2", "pack", state=StepState.COMPENSATION_FAILED)),
    )
    going_on = child("2", of="1", status=RunStatus.COMPENSATING)
    writes: tuple[Write, ...] = (
        ReopenRun(run("1", status=RunStatus.COMPENSATING)),
        UpdateChild(going_on),
        PutStep(step("2", "pack", state=StepState.COMPENSATING)),
        PutStep(step("1", "ship-order", kind="child", state=StepState.COMPENSATING)),
    )

    outcomes = [await store.commit(*writes) for _ in range(2)]

    assert outcomes == [Outcome.APPLIED, Outcome.CONFLICT]
    assert await store.run(APP, "run-1") == run("1", status=RunStatus.COMPENSATING)
    assert await store.run(APP, "run-2") == going_on
    found = await store.steps(["key-1", "key-2"])
    assert [each.state for steps in found.values() for each in steps] == [StepState.COMPENSATING] * 2


async def test_a_childs_end_counts_as_an_end(store: Store) -> None:
    await store.commit(started("1"), InsertRun(child("2", of="1")))

    before = await store.commit(RequireEnded("key-2"))
    updated = store.commit(FenceRun("key-1", ME), UpdateChild(child("2", of="1", status=RunStatus.COMPLETED)))
    after = store.commit(RequireEnded("key-2"))

    assert (before, await updated, await after) == (Outcome.CONFLICT, Outcome.APPLIED, Outcome.APPLIED)


async def test_no_more_queued_runs_get_a_place_than_there_are(store: Store) -> None:
    for number in range(5):
        await store.commit(queued(str(number)))

    outcomes = await asyncio.gather(*[store.commit(place(str(number), 2)) for number in range(5)])

    assert outcomes == [Outcome.APPLIED] * 2 + [Outcome.CONFLICT] * 3
    assert await store.run(APP, "run-1") == run("1")
    assert await store.run(APP, "run-2") == queued("2").record


@pytest.mark.parametrize(
    ("there", "is_in_the_way"),
    [
        (started("1"), True),
        (started("1", owner=OTHER), True),
        (started("1", owner=""), True),
        (started("1", status=RunStatus.COMPENSATING), True),
        (started("1", status=RunStatus.WAITING, waiting_for="a day"), True),
        (queued("1"), False),
        (queued("1", owner=OTHER), False),
        (started("1", status=RunStatus.COMPLETED), False),
        (started("1", status=RunStatus.FAILED), False),
        (started("1", workflow="ship-order"), False),
        (started("1", app="bank"), False),
        (InsertRun(child("1", of="0", workflow="place-order")), False),
    ],
    ids=[
        "running",
        "another process's",
        "nobody's",
        "compensating",
        "waiting",
        "queued",
        "another process's, queued",
        "completed",
        "failed",
        "of another workflow",
        "of another application",
        "a child",
    ],
)
async def test_a_place_is_taken_by_every_run_that_goes_on(
    store: Store, there: InsertRun, *, is_in_the_way: bool
) -> None:
    await store.commit(started("0", workflow="other"))
    await store.commit(there)
    await store.commit(queued("2"))

    outcome = await store.commit(FenceRun("key-2", ME), place("2", 1))

    assert outcome is (Outcome.CONFLICT if is_in_the_way else Outcome.APPLIED)


async def test_only_a_queued_run_takes_a_place(store: Store) -> None:
    await store.commit(started("1"))
    await store.commit(started("2", status=RunStatus.WAITING, waiting_for="a day"))
    await store.commit(queued("3"))
    await store.commit(UpdateRun(run("3", status=RunStatus.CANCELLED)))

    outcomes = [await store.commit(place(name, 10)) for name in ("1", "2", "3", "4")]

    assert outcomes == [Outcome.CONFLICT] * 4
    assert await store.run(APP, "run-2") == run("2", status=RunStatus.WAITING, waiting_for="a day")


async def test_a_place_that_ended_with_its_run_is_free_for_the_next(store: Store) -> None:
    await store.commit(started("1"))
    await store.commit(queued("2"))
    await store.commit(queued("3"))

    before = await store.commit(place("2", 1))
    await store.commit(UpdateRun(run("1", status=RunStatus.COMPLETED), hint=True))
    after = [await store.commit(place(name, 1)) for name in ("3", "2")]

    assert (before, after) == (Outcome.CONFLICT, [Outcome.APPLIED, Outcome.CONFLICT])


async def test_a_place_is_not_taken_by_a_commit_that_is_refused(store: Store) -> None:
    await store.commit(queued("1"))
    await store.commit(queued("2"))

    refused = await store.commit(place("1", 1), FenceRun("key-1", OTHER))
    taken = await store.commit(place("2", 1))

    assert (refused, taken) == (Outcome.FENCED, Outcome.APPLIED)
    assert await store.run(APP, "run-1") == queued("1").record
