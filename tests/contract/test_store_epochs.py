"""Epochs: what a former owner of a run writes is void, whoever owns it now."""

from daemon.store.model import RunStatus
from daemon.store.port import Store
from daemon.store.writes import FenceRun, Outcome, PutStep, ReopenRun, UpdateRun
from tests.contract.records import APP, GONE, ME, run, started, step

WORKFLOWS = ["place-order"]


async def test_whoever_takes_a_run_over_gets_it_with_the_next_epoch(store: Store) -> None:
    await store.commit(started("1", owner=GONE))

    first = await store.claim_runs(APP, ME, WORKFLOWS, limit=10)
    second = await store.claim_runs(APP, "process-2", WORKFLOWS, limit=10)
    stored = await store.run(APP, "run-1")

    assert [(record.owner, record.epoch) for record in (*first, *second)] == [(ME, 1), ("process-2", 2)]
    assert stored == second[0]


async def test_writes_with_a_former_epoch_are_fenced_though_the_owner_is_the_same(store: Store) -> None:
    await store.commit(started("1", owner=GONE))
    await store.claim_runs(APP, ME, WORKFLOWS, limit=10)

    void = [
        await store.commit(UpdateRun(run("1", status=RunStatus.COMPLETED))),
        await store.commit(FenceRun("key-1", ME, 0), PutStep(step("1", "pay"))),
        await store.commit(FenceRun("key-1", ME, 2), PutStep(step("1", "pay"))),
    ]
    valid = [
        await store.commit(FenceRun("key-1", ME, 1), PutStep(step("1", "ship"))),
        await store.commit(UpdateRun(run("1", epoch=1, updated_us=9))),
    ]

    assert void == [Outcome.FENCED] * 3
    assert valid == [Outcome.APPLIED] * 2
    assert [each.name for each in (await store.steps(["key-1"]))["key-1"]] == ["ship"]
    assert await store.run(APP, "run-1") == run("1", epoch=1, updated_us=9)


async def test_a_run_that_is_reopened_has_the_epoch_that_it_was_given(store: Store) -> None:
    await store.commit(started("1", status=RunStatus.FAILED, epoch=3))

    outcome = await store.commit(ReopenRun(run("1", status=RunStatus.COMPENSATING, epoch=4)))
    former = await store.commit(FenceRun("key-1", ME, 3))
    now = await store.commit(FenceRun("key-1", ME, 4))

    assert (outcome, former, now) == (Outcome.APPLIED, Outcome.FENCED, Outcome.APPLIED)
