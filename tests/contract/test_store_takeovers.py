"""Taking over runs."""

from daemon.store.model import RunStatus
from daemon.store.port import Store
from daemon.store.writes import FenceRun, Outcome, PutStep, UpdateRun
from tests.contract.records import APP, GONE, ME, OTHER, names, run, started, step


async def test_runs_of_nobody_and_of_the_dead_are_taken_over_and_those_of_the_living_are_not(store: Store) -> None:
    await store.register(APP, OTHER, lease_s=60)
    await store.commit(started("1", owner=""))
    await store.commit(started("2", owner=GONE, status=RunStatus.WAITING))
    await store.commit(started("3", owner=OTHER))
    await store.commit(started("4", owner=ME))
    await store.commit(started("5", owner=GONE, status=RunStatus.COMPENSATING))

    claimed = await store.claim_runs(APP, ME, ["place-order"], limit=10)

    assert names(claimed) == ["1", "2", "5"]
    assert {record.owner for record in claimed} == {ME}
    assert await store.run(APP, "run-2") == run("2", owner=ME, epoch=1, status=RunStatus.WAITING)
    assert await store.claim_runs(APP, ME, ["place-order"], limit=10) == []


async def test_only_unended_runs_of_these_workflows_and_this_application_are_taken_over(store: Store) -> None:
    ended = [status for status in RunStatus if status.ended]
    for number, status in enumerate(ended):
        await store.commit(started(f"ended-{number}", owner=GONE, status=status))
    await store.commit(started("1", owner=GONE, workflow="of-a-newer-deployment"))
    await store.commit(started("2", owner=GONE, app="bank"))

    claimed = await store.claim_runs(APP, ME, ["place-order", "ship-order"], limit=10)

    assert claimed == []
    assert await store.claim_runs(APP, ME, [], limit=10) == []


async def test_no_more_runs_are_taken_over_than_asked_for_and_the_oldest_first(store: Store) -> None:
    for number in (3, 1, 2):
        await store.commit(started(str(number), owner=GONE))

    first = await store.claim_runs(APP, ME, ["place-order"], limit=2)
    second = await store.claim_runs(APP, ME, ["place-order"], limit=2)

    assert (names(first), names(second)) == (["1", "2"], ["3"])


async def test_a_lease_that_is_over_or_was_ended_frees_the_runs_at_once(store: Store) -> None:
    await store.register(APP, "over", lease_s=0)
    await store.register(APP, "ended", lease_s=60)
    await store.register(APP, "renewed", lease_s=0)
    await store.register(APP, "renewed", lease_s=60)
    for number, owner in enumerate(("over", "ended", "renewed")):
        await store.commit(started(str(number), owner=owner))

    await store.retire("ended")
    claimed = await store.claim_runs(APP, ME, ["place-order"], limit=10)

    assert names(claimed) == ["0", "1"]


async def test_whoever_lost_a_run_is_fenced_and_the_new_owner_is_not(store: Store) -> None:
    await store.commit(started("1", owner=GONE))

    await store.claim_runs(APP, ME, ["place-order"], limit=1)

    assert await store.commit(UpdateRun(run("1", owner=GONE))) is Outcome.FENCED
    assert await store.commit(FenceRun("key-1", GONE), PutStep(step("1", "pay"))) is Outcome.FENCED
    assert await store.commit(FenceRun("key-1", ME, 1), PutStep(step("1", "pay"))) is Outcome.APPLIED
