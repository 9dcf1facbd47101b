"""Graphs, and what is done with runs that a process cannot drive."""

from daemon.store.model import RunStatus
from daemon.store.port import Store
from daemon.store.writes import GiveBack, Outcome, PutGraph, PutStep, UpdateRun
from tests.contract.records import APP, GONE, ME, OTHER, child, run, started, step

WORKFLOWS = ["place-order"]


async def test_a_graph_is_found_by_its_hash(store: Store) -> None:
    await store.commit(PutGraph("abc", "place-order", b"{}"))
    await store.commit(PutGraph("abc", "place-order", b'{"again":1}'))

    assert await store.graph("abc") == b"{}"
    assert await store.graph("abd") is None


async def test_a_run_that_is_given_back_is_as_it_was_before_it_was_claimed(store: Store) -> None:
    await store.commit(started("1", owner="", epoch=4, status=RunStatus.WAITING))
    (claimed,) = await store.claim_runs(APP, ME, WORKFLOWS, limit=10)

    outcome = await store.commit(GiveBack(claimed))

    assert outcome is Outcome.APPLIED
    assert await store.run(APP, "run-1") == run("1", owner="", epoch=4, status=RunStatus.WAITING)
    assert [each.epoch for each in await store.claim_runs(APP, OTHER, WORKFLOWS, limit=10)] == [5]


async def test_nobody_gives_back_what_is_not_theirs(store: Store) -> None:
    await store.commit(started("1", owner=OTHER, epoch=2))

    refused = [
        await store.commit(GiveBack(run("1", owner=ME, epoch=2))),
        await store.commit(GiveBack(run("1", owner=OTHER, epoch=3)), PutStep(step("1", "pay"))),
        await store.commit(GiveBack(run("9"))),
    ]

    assert refused == [Outcome.FENCED] * 3
    assert await store.run(APP, "run-1") == run("1", owner=OTHER, epoch=2)
    assert (await store.steps(["key-1"]))["key-1"] == []


async def test_a_refused_commit_gives_nothing_back(store: Store) -> None:
    await store.commit(started("1", epoch=2))

    outcome = await store.commit(GiveBack(run("1", epoch=2)), UpdateRun(run("9")))

    assert outcome is Outcome.FENCED
    assert await store.run(APP, "run-1") == run("1", epoch=2)


async def test_a_run_of_nobody_is_left_out_of_a_claim_as_long_as_it_has_the_same_epoch(store: Store) -> None:
    await store.commit(started("1", owner="", epoch=3), started("2", owner="", epoch=3), started("3", owner=GONE))

    claimed = await store.claim_runs(
        APP, ME, WORKFLOWS, limit=10, without={"key-1": 3, "key-2": 2, "key-3": 0, "key-4": 0}
    )

    assert [(each.key, each.epoch) for each in claimed] == [("key-2", 4), ("key-3", 1)]
    assert [each.key for each in await store.claim_runs(APP, OTHER, WORKFLOWS, limit=10)][:1] == ["key-1"]


async def test_what_is_left_out_does_not_count_among_those_that_are_claimed_at_most(store: Store) -> None:
    await store.commit(*(started(str(number), owner="") for number in range(5)))

    claimed = await store.claim_runs(APP, ME, WORKFLOWS, limit=2, without={"key-0": 0, "key-1": 0})

    assert [each.key for each in claimed] == ["key-2", "key-3"]


async def test_unended_runs_are_read_in_pages_whoever_owns_them(store: Store) -> None:
    for number, owner in enumerate(["", ME, GONE, OTHER]):
        await store.commit(started(str(number), owner=owner, workflow=f"flow-{number}"))
    await store.commit(started("7", status=RunStatus.COMPLETED), started("8", app="bank"))
    await store.commit(started("9", **_fields(child("9", of="1"))))

    first = await store.unended(APP, after=None, limit=3)
    second = await store.unended(APP, after=first[-1].key, limit=3)

    assert [each.key for each in first] == ["key-0", "key-1", "key-2"]
    assert [each.key for each in second] == ["key-3"]


def _fields(record: object) -> dict[str, object]:
    return {name: getattr(record, name) for name in ("parent_key", "root_key", "owner", "workflow")}


async def test_unended_runs_of_other_workflows_are_counted(store: Store) -> None:
    await store.commit(started("1", workflow="known"), started("2", workflow="gone", owner=""))
    await store.commit(started("3", workflow="gone", owner=GONE), started("4", workflow="older", owner=""))
    await store.commit(started("5", workflow="ended", status=RunStatus.REVERTED), started("6", app="bank"))

    assert await store.unknown(APP, ["known"]) == {"gone": 2, "older": 1}
    assert await store.unknown(APP, ["known", "gone", "older"]) == {}
