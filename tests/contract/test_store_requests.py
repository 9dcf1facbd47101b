"""What is asked of a run: to be cancelled, to go on where it failed, to begin afresh."""

import asyncio

from daemon.store.model import RunStatus
from daemon.store.port import RunFilter, Store
from daemon.store.writes import InsertRun, Outcome, PutStep, ReopenRun, RequestCancel, RequireEnded, UpdateRun
from tests.contract.records import APP, GONE, ME, OTHER, names, run, started, step


async def test_a_request_to_cancel_stays_with_the_run_whatever_its_owner_writes(store: Store) -> None:
    await store.register(APP, ME, lease_s=60)
    await store.commit(started("1"))
    await store.commit(started("2"))
    hinted = asyncio.Event()
    store.on_hint(hinted.set)
    first = await store.commit(RequestCancel("key-1", 2_000))
    second = await store.commit(RequestCancel("key-1", 3_000))
    await asyncio.wait_for(hinted.wait(), 5)
    await store.commit(UpdateRun(run("1", status=RunStatus.WAITING)))

    (found,) = await store.cancellations(APP, ME)

    assert (first, second) == (Outcome.APPLIED, Outcome.APPLIED)
    assert (found.run_id, found.status, found.cancel_us) == ("run-1", RunStatus.WAITING, 2_000)
    assert await store.cancellations(APP, OTHER) == []
    assert await store.cancellations("another-app", ME) == []


async def test_a_run_that_has_ended_takes_no_request_to_cancel(store: Store) -> None:
    await store.commit(started("1", status=RunStatus.COMPLETED))
    await store.commit(started("2"))
    await store.commit(RequestCancel("key-2", 2_000))
    await store.commit(UpdateRun(run("2", status=RunStatus.CANCELLED)))

    ended = await store.commit(RequestCancel("key-1", 2_000))
    nobody = await store.commit(RequestCancel("key-3", 2_000))

    assert (ended, nobody) == (Outcome.CONFLICT, Outcome.CONFLICT)
    assert await store.cancellations(APP, ME) == []


async def test_a_request_to_cancel_is_taken_over_with_the_run(store: Store) -> None:
    await store.commit(started("1", owner=GONE))
    await store.commit(RequestCancel("key-1", 2_000))

    (claimed,) = await store.claim_runs(APP, ME, ["place-order"], limit=10)

    assert claimed.cancel_us == 2_000


async def test_a_failed_run_is_reopened_once_for_whoever_goes_on_with_it(store: Store) -> None:
    await store.commit(started("1", status=RunStatus.FAILED, ended_us=2_000, owner=GONE))
    reopened = run("1", status=RunStatus.COMPENSATING, errors=b'["left"]', owner=ME)

    outcomes = [await store.commit(ReopenRun(reopened), PutStep(step("1", "first"))) for _ in range(2)]

    assert outcomes == [Outcome.APPLIED, Outcome.CONFLICT]
    found = await store.run(APP, "run-1")
    assert found is not None
    assert (found.status, found.owner, found.errors, found.ended_us) == (
        RunStatus.COMPENSATING,
        ME,
        b'["left"]',
        None,
    )
    assert await store.commit(RequireEnded("key-1")) is Outcome.CONFLICT


async def test_a_run_that_was_started_afresh_is_not_reopened(store: Store) -> None:
    await store.commit(started("1", status=RunStatus.FAILED))
    afresh = InsertRun(run("1", key="key-2", attempt=2))
    started_afresh = await store.commit(afresh, RequireEnded("key-1"))

    outcome = await store.commit(ReopenRun(run("1", status=RunStatus.COMPENSATING)))

    assert (started_afresh, outcome) == (Outcome.APPLIED, Outcome.CONFLICT)


async def test_a_run_that_was_reopened_is_not_started_afresh(store: Store) -> None:
    await store.commit(started("1", status=RunStatus.FAILED))
    await store.commit(ReopenRun(run("1", status=RunStatus.COMPENSATING)))

    outcome = await store.commit(InsertRun(run("1", key="key-2", attempt=2)), RequireEnded("key-1"))

    assert outcome is Outcome.CONFLICT
    assert names((await store.runs(APP, RunFilter(), after=None, limit=10)).records) == ["1"]
