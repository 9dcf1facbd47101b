"""What is deleted when it was kept for long enough, and what never is."""

from dataclasses import replace

import pytest

from daemon.clock import new_id
from daemon.store.job_model import FiringState
from daemon.store.model import RunRecord, RunStatus
from daemon.store.port import RunFilter, Store
from daemon.store.writes import InsertRun, Outcome, PutStep, ReopenRun, UpdateFiring
from tests.contract.records import APP, ME, came, child, ended, fire, firing, handled, run, step

NOW_US = 1_800_000_000_000_000
HOUR_US = 3_600_000_000


async def kept(store: Store, app: str = APP) -> list[str]:
    return sorted(each.run_id for each in (await store.runs(app, RunFilter(), after=None, limit=100)).records)


async def test_runs_that_ended_before_are_deleted_the_oldest_first_as_many_as_asked_for(store: Store) -> None:
    for number in (4, 2, 0, 3, 1):
        await store.commit(InsertRun(ended(str(number), NOW_US + number)))

    first = await store.prune_runs(APP, before_us=NOW_US + 4, workflow=None, limit=3)
    left = await kept(store)
    second = await store.prune_runs(APP, before_us=NOW_US + 4, workflow=None, limit=3)
    third = await store.prune_runs(APP, before_us=NOW_US + 4, workflow=None, limit=3)

    assert (first, second, third) == (3, 1, 0)
    assert len(left) == 2
    assert await kept(store) == ["run-4"]
    assert await store.run(APP, "run-0") is None


async def test_the_oldest_of_all_workflows_are_deleted_first(store: Store) -> None:
    for number in range(6):
        workflow = "place-order" if number % 2 else "ship-order"
        await store.commit(InsertRun(ended(str(number), NOW_US + number * HOUR_US, workflow=workflow)))

    deleted = await store.prune_runs(APP, before_us=NOW_US + 24 * HOUR_US, workflow=None, limit=3)

    assert deleted == 3
    assert await kept(store) == ["run-3", "run-4", "run-5"]


async def test_a_run_goes_with_its_descendants_and_all_their_checkpoints(store: Store) -> None:
    old, young = ended("1", NOW_US), ended("2", NOW_US + HOUR_US)
    for root in (old, young):
        for name in ("a", "b"):
            of_root = child(root.run_id + name, of="", parent_key=root.key, root_key=root.key)
            await store.commit(InsertRun(of_root), PutStep(replace(step("", "pack"), run_key=of_root.key)))
        await store.commit(InsertRun(root), PutStep(replace(step("", "pay"), run_key=root.key)))

    deleted = await store.prune_runs(APP, before_us=NOW_US + 1, workflow=None, limit=10)

    assert deleted == 1
    assert await kept(store) == ["run-2", "run-run-2a", "run-run-2b"]
    assert (await store.children([old.key]))[old.key] == []
    left = await store.steps([each for root in (old, young) for each in (root.key, *children_of(root))])
    assert {key: len(steps) for key, steps in left.items()} == {
        key: int(root is young) for root in (old, young) for key in (root.key, *children_of(root))
    }


def children_of(root: RunRecord) -> list[str]:
    return [f"key-{root.run_id}{name}" for name in ("a", "b")]


async def test_a_run_that_has_not_ended_is_stepped_over_with_all_its_children(store: Store) -> None:
    for number, status in enumerate(each for each in RunStatus if not each.ended):
        root = ended(str(number), NOW_US + number, status=status, ended_us=None)
        of_root = ended(f"{number}a", NOW_US + number, root_key=root.key, owner="")
        await store.commit(InsertRun(root), InsertRun(of_root), PutStep(replace(step("", "x"), run_key=of_root.key)))
    await store.commit(InsertRun(ended("9", NOW_US + 9)))

    deleted = await store.prune_runs(APP, before_us=NOW_US + HOUR_US, workflow=None, limit=1)

    assert deleted == 1
    assert await kept(store) == ["run-0", "run-0a", "run-1", "run-1a", "run-2", "run-2a"]
    assert await store.prune_runs(APP, before_us=NOW_US + HOUR_US, workflow=None, limit=1) == 0


async def test_a_run_is_as_old_as_its_end(store: Store) -> None:
    await store.commit(InsertRun(ended("long", NOW_US, ended_us=NOW_US + HOUR_US)))
    await store.commit(InsertRun(ended("short", NOW_US + 1)))

    deleted = await store.prune_runs(APP, before_us=NOW_US + HOUR_US, workflow=None, limit=10)

    assert deleted == 1
    assert await kept(store) == ["run-long"]


@pytest.mark.parametrize(
    ("workflow", "without", "left"),
    [
        ("place-order", (), ["run-2", "run-3"]),
        (None, ("place-order",), ["run-1"]),
        (None, ("place-order", "ship-order"), ["run-1", "run-2"]),
        (None, ("unknown",), []),
        ("unknown", (), ["run-1", "run-2", "run-3"]),
    ],
    ids=str,
)
async def test_runs_are_deleted_of_one_workflow_or_of_all_but_some(
    store: Store, workflow: str | None, without: tuple[str, ...], left: list[str]
) -> None:
    for name, of in (("1", "place-order"), ("2", "ship-order"), ("3", "bill")):
        await store.commit(InsertRun(ended(name, NOW_US, workflow=of)))
    await store.commit(InsertRun(ended("4", NOW_US, app="bank")))

    await store.prune_runs(APP, before_us=NOW_US + 1, workflow=workflow, without=without, limit=10)

    assert await kept(store) == left
    assert await kept(store, "bank") == ["run-4"]


async def test_a_run_whose_former_attempts_are_deleted_is_still_there(store: Store) -> None:
    await store.commit(InsertRun(ended("1", NOW_US, status=RunStatus.REVERTED)))
    latest = run("1", key=new_id(NOW_US + HOUR_US), attempt=2)
    await store.commit(InsertRun(latest))

    deleted = await store.prune_runs(APP, before_us=NOW_US + HOUR_US, workflow=None, limit=10)

    assert deleted == 1
    assert await store.run(APP, "run-1") == latest


async def test_a_run_that_was_deleted_is_not_reopened_and_may_start_anew(store: Store) -> None:
    failed = ended("1", NOW_US, status=RunStatus.FAILED)
    await store.commit(InsertRun(failed))
    await store.prune_runs(APP, before_us=NOW_US + 1, workflow=None, limit=10)

    reopened = await store.commit(ReopenRun(replace(failed, status=RunStatus.COMPENSATING)))
    anew = await store.commit(InsertRun(run("1")))

    assert (reopened, anew) == (Outcome.CONFLICT, Outcome.APPLIED)


async def test_events_that_were_handled_before_are_forgotten(store: Store) -> None:
    for number in range(4):
        await store.commit(handled(f"e{number}", handled_us=1_000 + number))
    await store.commit(handled("e0", app="bank"))

    outcomes = [await store.prune_handled(APP, before_us=1_003, limit=2) for _ in range(3)]

    assert outcomes == [2, 1, 0]
    known = [await store.handled(APP, "greet", "crm", "customer.created", f"e{number}") for number in range(4)]
    assert known == [None, None, None, b"hash"]
    assert await store.handled("bank", "greet", "crm", "customer.created", "e0") is not None


async def test_firings_that_ended_before_are_deleted_but_never_the_latest_of_a_job(store: Store) -> None:
    for number, job in ((1, "nightly"), (2, "nightly"), (3, "nightly"), (1, "hourly")):
        await fire(store, firing(number, job=job))
        ended_firing = firing(number, job=job, state=FiringState.COMPLETED, ended_us=number + 10)
        await store.commit(UpdateFiring(ended_firing))
    await fire(store, firing(1, job="bank", app="bank", state=FiringState.MISSED))
    await fire(store, firing(2, job="bank", app="bank", state=FiringState.MISSED))

    outcomes = [await store.prune_firings(APP, before_us=100, limit=1) for _ in range(3)]

    assert outcomes == [1, 1, 0]
    assert [each.scheduled_us for each in await store.firings(APP, "nightly", limit=10)] == [3]
    assert [each.scheduled_us for each in await store.firings(APP, "hourly", limit=10)] == [1]
    assert len(await store.firings("bank", "bank", limit=10)) == 2


async def test_firings_that_go_on_or_ended_lately_are_left(store: Store) -> None:
    states = {
        1: firing(1),
        2: firing(2, state=FiringState.FAILED, ended_us=50),
        3: firing(3, state=FiringState.SKIPPED),
        4: firing(4, state=FiringState.MISSED, started_us=60),
        5: firing(5, state=FiringState.COMPLETED, ended_us=7),
    }
    for each in states.values():
        await fire(store, each)

    deleted = await store.prune_firings(APP, before_us=50, limit=10)

    assert deleted == 1
    assert [each.scheduled_us for each in await store.firings(APP, "nightly", limit=10)] == [5, 4, 2, 1]


async def test_signals_that_came_before_are_deleted_of_topics_that_begin_alike(store: Store) -> None:
    await store.commit(*[came(f"s{number}", topic="paid:" + "ab\u20ac"[number], at_us=number) for number in range(3)])
    await store.commit(came("young", topic="paid:a", at_us=100), came("other", topic="shipped:a", at_us=1))
    await store.commit(came("bank", topic="paid:a", app="bank", at_us=1), came("alike", topic="paid", at_us=1))

    outcomes = [await store.prune_signals(APP, topic_prefix="paid:", before_us=100, limit=2) for _ in range(3)]

    assert outcomes == [2, 1, 0]
    found = [
        await store.signal(app, topic, 0)
        for app, topic in (
            (APP, "paid:a"),
            (APP, "paid:b"),
            (APP, "paid:\u20ac"),
            (APP, "shipped:a"),
            ("bank", "paid:a"),
            (APP, "paid"),
        )
    ]
    assert [each and each.id for each in found] == ["young", None, None, "other", "bank", "alike"]


async def test_a_signal_that_was_deleted_is_taken_as_a_new_one(store: Store) -> None:
    await store.commit(came("a"))
    await store.prune_signals(APP, topic_prefix="paid", before_us=9_000, limit=10)

    await store.commit(came("a", at_us=9_000))

    found = await store.signal(APP, "paid:1", 0)
    assert found is not None
    assert found.at_us == 9_000
    assert (await store.signalled(APP, ME))[0] == []
