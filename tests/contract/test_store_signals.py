"""Signals, and the runs that wait for them."""

import pytest

from daemon.store.model import RunStatus, StepState
from daemon.store.port import Store
from daemon.store.writes import (
    FenceRun,
    InsertRun,
    Outcome,
    PutStep,
    RequireAwaiting,
    RequireNoSignal,
    UpdateChild,
    UpdateRun,
)
from tests.contract.records import APP, GONE, ME, OTHER, came, child, handled, names, run, signal, started, step


def awaiting(of: str, name: str = "paid", **changes: object) -> PutStep:
    values = {"state": StepState.WAITING, "kind": "wait", "awaits": "paid:1"}
    return PutStep(step(of, name, **values | changes))


async def test_the_first_signal_of_a_topic_since_a_time_is_the_signal(store: Store) -> None:
    await store.commit(came("a", at_us=1_999), came("c", at_us=3_000), came("b", at_us=2_500, body=b"\xff"))
    await store.commit(came("d", at_us=2_500), came("e", topic="paid:2"), came("f", app="bank"))

    found = await store.signal(APP, "paid:1", 2_000)

    assert found == signal("b", at_us=2_500, body=b"\xff")
    assert await store.signal(APP, "paid:1", 1_999) == signal("a", at_us=1_999)
    assert await store.signal(APP, "paid:1", 3_000) == signal("c", at_us=3_000)
    assert await store.signal(APP, "paid:1", 3_001) is None
    assert await store.signal(APP, "paid:3", 0) is None


async def test_a_signal_that_comes_again_changes_nothing(store: Store) -> None:
    await store.commit(came("a"))

    outcome = await store.commit(came("a", at_us=1_000, body=b"again"))

    assert outcome is Outcome.APPLIED
    assert await store.signal(APP, "paid:1", 0) == signal("a")


async def test_what_happens_to_a_signal_after_its_commit_or_its_reading_is_not_stored(store: Store) -> None:
    write = came("a")
    commit = store.commit(write)
    write.signal.body = b"changed"
    await commit

    found = await store.signal(APP, "paid:1", 0)
    assert found is not None
    found.body = b"changed"

    assert await store.signal(APP, "paid:1", 0) == signal("a")


@pytest.mark.parametrize(
    ("there", "is_kept"),
    [
        (started("1"), True),
        (started("1", owner=OTHER, status=RunStatus.WAITING), True),
        (started("1", workflow="ship-order", status=RunStatus.COMPENSATING, owner=""), True),
        (started("1", status=RunStatus.COMPLETED), False),
        (started("1", workflow="other"), False),
        (started("1", app="bank"), False),
        (InsertRun(child("1", of="0")), False),
    ],
    ids=["running", "another process's", "compensating", "ended", "of another workflow", "of another app", "a child"],
)
async def test_a_signal_for_workflows_is_kept_if_one_of_them_has_an_unended_run(
    store: Store, there: InsertRun, *, is_kept: bool
) -> None:
    await store.commit(started("0", workflow="root"))
    await store.commit(there)

    outcome = await store.commit(handled("e1"), came("a", "place-order", "ship-order"))

    assert outcome is Outcome.APPLIED
    assert await store.handled(APP, "greet", "crm", "customer.created", "e1") is not None
    assert await store.signal(APP, "paid:1", 0) == (signal("a") if is_kept else None)


async def test_whoever_requires_that_no_signal_came_is_refused_if_one_did(store: Store) -> None:
    guard = RequireNoSignal(APP, "paid:1", 2_000)
    await store.commit(started("1"), came("old", at_us=1_999), came("x", topic="paid:2"), came("y", app="bank"))

    before = await store.commit(FenceRun("key-1", ME), guard, awaiting("1"))
    await store.commit(came("a"))
    after = await store.commit(FenceRun("key-1", ME), guard, PutStep(step("1", "next")))

    assert (before, after) == (Outcome.APPLIED, Outcome.CONFLICT)
    assert await store.steps(["key-1"]) == {"key-1": [awaiting("1").record]}


async def test_whoever_requires_that_no_signal_came_sees_one_that_was_submitted_just_before(store: Store) -> None:
    await store.commit(started("1"))

    commits = [store.commit(came("a")), store.commit(RequireNoSignal(APP, "paid:1", 0), handled("e"))]

    assert [await each for each in commits] == [Outcome.APPLIED, Outcome.CONFLICT]


async def test_a_step_that_awaits_a_topic_is_told_from_one_that_does_not(store: Store) -> None:
    await store.commit(
        started("1"),
        awaiting("1"),
        awaiting("1", "done", state=StepState.COMPLETED),
        awaiting("1", "other", awaits="paid:2"),
        awaiting("1", "retried", awaits=""),
    )

    outcomes = [
        await store.commit(RequireAwaiting("key-1", name, "paid:1"))
        for name in ("paid", "done", "other", "retried", "unknown")
    ]

    assert outcomes == [Outcome.APPLIED] + [Outcome.CONFLICT] * 4


async def test_of_two_outcomes_of_a_step_that_are_submitted_at_once_one_is_taken(store: Store) -> None:
    await store.commit(started("1"), awaiting("1"))
    outcome = PutStep(step("1", "paid", output=b"1"))

    commits = [store.commit(RequireAwaiting("key-1", "paid", "paid:1"), outcome) for _ in range(3)]

    assert [await each for each in commits] == [Outcome.APPLIED, Outcome.CONFLICT, Outcome.CONFLICT]


async def test_a_refused_guard_that_looks_back_does_not_touch_what_was_submitted_before(store: Store) -> None:
    await store.commit(started("1"))
    commits = [
        store.commit(FenceRun("key-1", ME), awaiting("1")),
        store.commit(handled("e"), RequireAwaiting("key-1", "paid", "paid:2"), PutStep(step("1", "next"))),
        store.commit(FenceRun("key-1", ME), came("a")),
        store.commit(handled("e"), RequireNoSignal(APP, "paid:1", 0), PutStep(step("1", "next"))),
    ]

    outcomes = [await each for each in commits]

    assert outcomes == [Outcome.APPLIED, Outcome.CONFLICT] * 2
    assert await store.steps(["key-1"]) == {"key-1": [awaiting("1").record]}
    assert await store.signal(APP, "paid:1", 0) == signal("a")
    assert not await store.handled(APP, "greet", "crm", "customer.created", "e")


async def test_runs_for_which_a_signal_came_are_found_by_their_own_steps_and_their_childrens(store: Store) -> None:
    for name in ("3", "1", "2", "4"):
        await store.commit(started(name))
    await store.commit(awaiting("1"), awaiting("1", "again"), awaiting("4", awaits="paid:4"))
    await store.commit(InsertRun(child("3a", of="3")), awaiting("3a"))
    await store.commit(came("a"), came("b"))

    found, last = await store.signalled(APP, ME, after=0)

    assert found == [run("1"), run("3")]
    assert await store.signalled(APP, ME) == (found, last)
    assert await store.signalled(APP, ME, after=last - 1) == (found, last)
    assert await store.signalled(APP, ME, after=last) == ([], last)


async def test_only_unended_runs_of_the_owner_that_still_wait_are_signalled(store: Store) -> None:
    await store.commit(came("old", topic="old"))
    _, last = await store.signalled(APP, ME)
    await store.commit(started("other", owner=OTHER), awaiting("other"))
    await store.commit(started("bank", app="bank"), awaiting("bank"))
    await store.commit(started("ended"), awaiting("ended"))
    await store.commit(UpdateRun(run("ended", status=RunStatus.CANCELLED)))
    await store.commit(started("went-on"), awaiting("went-on"))
    await store.commit(FenceRun("key-went-on", ME), awaiting("went-on", state=StepState.COMPLETED))
    await store.commit(started("turned"), awaiting("turned"))
    await store.commit(FenceRun("key-turned", ME), awaiting("turned", awaits="paid:2"))
    await store.commit(started("younger", created_us=2_001), awaiting("younger"))
    await store.commit(InsertRun(child("old-child", of="younger")), awaiting("old-child"))
    await store.commit(started("same", created_us=2_000), awaiting("same"))
    await store.commit(InsertRun(child("young-child", of="same", created_us=9_000)), awaiting("young-child", "x"))

    await store.commit(came("a"))

    assert names((await store.signalled(APP, ME, after=last))[0]) == ["same"]
    assert names((await store.signalled(APP, ME))[0]) == ["same"]
    assert names((await store.signalled(APP, OTHER))[0]) == ["other"]
    assert names((await store.signalled("bank", ME))[0]) == []


async def test_a_signal_that_was_stored_before_anybody_waited_is_found_by_the_complete_look(store: Store) -> None:
    await store.commit(started("1"))
    await store.commit(came("a"))
    _, last = await store.signalled(APP, ME)
    await store.commit(FenceRun("key-1", ME), awaiting("1"))

    complete, lately = await store.signalled(APP, ME, after=0), await store.signalled(APP, ME, after=last)

    assert (complete, lately) == (([run("1")], last), ([], last))


async def test_the_position_never_goes_back(store: Store) -> None:
    await store.commit(started("1"), awaiting("1"), came("a"), came("b"))
    _, last = await store.signalled(APP, ME)

    deleted = await store.prune_signals(APP, topic_prefix="", before_us=9_000, limit=10)
    _, after = await store.signalled(APP, ME, after=last)
    await store.commit(came("c"))

    assert (deleted, after) == (2, last)
    assert names((await store.signalled(APP, ME, after=last))[0]) == ["1"]


async def test_whoever_took_a_run_over_is_told_of_its_signals(store: Store) -> None:
    await store.commit(started("1", owner=GONE), awaiting("1"), came("a"))

    before = await store.signalled(APP, ME)
    await store.claim_runs(APP, ME, ["place-order"], limit=10)
    after = await store.signalled(APP, ME)

    assert (names(before[0]), names(after[0])) == ([], ["1"])


async def test_the_oldest_unended_run_of_some_workflows_is_told(store: Store) -> None:
    await store.commit(started("1", created_us=1, workflow="other"))
    await store.commit(started("2", created_us=2, status=RunStatus.COMPLETED))
    await store.commit(started("3", created_us=3, app="bank"))
    await store.commit(InsertRun(child("4", of="1", created_us=4)), UpdateChild(child("4", of="1", created_us=4)))
    await store.commit(started("5", created_us=5, owner="z", status=RunStatus.WAITING))
    await store.commit(started("6", created_us=6, workflow="ship-order", owner="a"))

    oldest_us = await store.oldest_run_us(APP, ["place-order", "ship-order"])

    assert oldest_us == 5
    assert await store.oldest_run_us(APP, ["ship-order"]) == 6
    assert await store.oldest_run_us(APP, ["unknown"]) is None
    assert await store.oldest_run_us(APP, []) is None


async def test_the_oldest_unended_run_of_all_workflows_is_told(store: Store) -> None:
    assert await store.oldest_run_us(APP, None) is None
    await store.commit(started("1", created_us=1, status=RunStatus.COMPLETED))
    await store.commit(started("2", created_us=2, app="bank", workflow="bank-only"))
    await store.commit(started("4", created_us=4), started("3", created_us=3, workflow="ship-order", owner="z"))

    oldest_us = await store.oldest_run_us(APP, None)

    assert oldest_us == 3
    assert await store.oldest_run_us("bank", None) == 2
    assert await store.oldest_run_us("other", None) is None
