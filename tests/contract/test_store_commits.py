"""What a commit promises, whatever it holds."""

import asyncio

from daemon.store.model import RunStatus
from daemon.store.port import RunFilter, Store
from daemon.store.writes import (
    DropOutgoing,
    Enqueue,
    FenceRun,
    InsertRun,
    Outcome,
    PutGraph,
    PutStep,
    SettleDelivery,
    StageEvent,
    UpdateChild,
    UpdateDelivery,
    UpdateRun,
    Write,
)
from tests.contract.records import APP, ME, OTHER, child, delivery, handled, outgoing, run, started, step


async def test_a_run_comes_back_as_it_was_stored(store: Store) -> None:
    record = run(
        "1",
        status=RunStatus.WAITING,
        result=b'"done"',
        errors=b'[{"step":"pay"}]',
        ended_us=5,
        wake_us=6,
        waiting_for="a free place",
        deadline_us=7,
        parent_key="key-0",
        cancel_us=8,
        root_key="key-0",
    )

    outcome = await store.commit(InsertRun(record))

    assert outcome is Outcome.APPLIED
    stored = await store.run(APP, "run-1")
    assert stored == record
    assert isinstance(stored.status, RunStatus)


async def test_a_second_run_with_the_same_id_and_attempt_is_a_conflict_and_changes_nothing(store: Store) -> None:
    await store.commit(started("1"))

    outcome = await store.commit(started("1", key="key-2", input=b'"other"'), PutStep(step("2", "pay")))

    assert outcome is Outcome.CONFLICT
    assert (await store.runs(APP, RunFilter(), after=None, limit=10)).records == [run("1")]
    assert await store.steps(["key-2"]) == {"key-2": []}


async def test_of_two_concurrent_starts_of_one_run_one_wins(store: Store) -> None:
    outcomes = await asyncio.gather(*[store.commit(started("1", key=f"key-{n}")) for n in range(10)])

    assert sorted(outcomes) == [Outcome.APPLIED] + [Outcome.CONFLICT] * 9


async def test_the_same_run_id_of_two_applications_is_two_runs(store: Store) -> None:
    await store.commit(started("1"))

    outcome = await store.commit(started("1", key="key-2", app="bank"))

    assert outcome is Outcome.APPLIED
    assert await store.run("bank", "run-1") == run("1", key="key-2", app="bank")
    assert await store.run(APP, "run-1") == run("1")


async def test_an_update_by_the_owner_replaces_what_may_change(store: Store) -> None:
    await store.commit(started("1"))
    changed = run(
        "1",
        status=RunStatus.REVERTED,
        updated_us=9,
        result=b"1",
        errors=b"[1]",
        ended_us=9,
        wake_us=3,
        waiting_for="x",
        deadline_us=4,
    )

    outcome = await store.commit(UpdateRun(changed))

    assert outcome is Outcome.APPLIED
    assert await store.run(APP, "run-1") == changed


async def test_whoever_does_not_own_a_run_is_fenced_with_everything_it_writes(store: Store) -> None:
    await store.commit(started("1", owner=OTHER))
    writes: list[tuple[Write, ...]] = [
        (UpdateRun(run("1", status=RunStatus.COMPLETED)), PutStep(step("1", "pay"))),
        (FenceRun("key-1", ME), PutStep(step("1", "pay")), StageEvent(outgoing("e"))),
        (UpdateRun(run("2")), PutStep(step("2", "pay"))),
        (FenceRun("key-2", ME), PutStep(step("2", "pay"))),
    ]

    outcomes = [await store.commit(*each) for each in writes]

    assert outcomes == [Outcome.FENCED] * 4
    assert await store.run(APP, "run-1") == run("1", owner=OTHER)
    assert await store.steps(["key-1", "key-2"]) == {"key-1": [], "key-2": []}
    assert await store.outgoing(APP, limit=10) == []


async def test_a_fence_passes_for_the_owner_and_writes_nothing_itself(store: Store) -> None:
    await store.commit(started("1"))

    outcome = await store.commit(FenceRun("key-1", ME), PutStep(step("1", "pay")))

    assert outcome is Outcome.APPLIED
    assert await store.steps(["key-1"]) == {"key-1": [step("1", "pay")]}
    assert await store.run(APP, "run-1") == run("1")


async def test_one_guard_that_refuses_undoes_all_guards_before_it(store: Store) -> None:
    await store.commit(started("1"), handled("seen"), Enqueue((delivery("e1"), delivery("e2"))))
    (first, second) = await store.take(APP, "greet", ME, limit=2, now_us=1_000)

    outcome = await store.commit(
        started("2"),
        UpdateRun(run("1", status=RunStatus.COMPLETED)),
        SettleDelivery(first.seq, ME),
        UpdateDelivery(delivery("e2", seq=second.seq, reason="rejected"), ME),
        StageEvent(outgoing("e")),
        handled("seen"),
    )

    assert outcome is Outcome.CONFLICT
    assert (await store.runs(APP, RunFilter(), after=None, limit=10)).records == [run("1")]
    assert await store.queue_depths(APP) == {"greet": (0, 2, 0)}
    assert await store.outgoing(APP, limit=10) == []


async def test_several_guards_that_pass_are_applied_together(store: Store) -> None:
    await store.commit(Enqueue((delivery("e1"),)))
    (taken,) = await store.take(APP, "greet", ME, limit=1, now_us=1_000)

    outcome = await store.commit(handled("e1"), SettleDelivery(taken.seq, ME), started("1"), PutStep(step("1", "pay")))

    assert outcome is Outcome.APPLIED
    assert await store.handled(APP, "greet", "crm", "customer.created", "e1") is not None
    assert await store.queue_depths(APP) == {}
    assert await store.steps(["key-1"]) == {"key-1": [step("1", "pay")]}


async def test_a_refused_commit_does_not_touch_the_ones_around_it(store: Store) -> None:
    commits = [
        store.commit(started("1"), PutStep(step("1", "pay"))),
        store.commit(started("1", key="key-2"), PutStep(step("2", "pay"))),
        store.commit(FenceRun("key-1", OTHER), handled("e"), PutStep(step("1", "ship"))),
        store.commit(started("3"), PutStep(step("3", "pay"))),
    ]

    outcomes = [await each for each in commits]

    assert outcomes == [Outcome.APPLIED, Outcome.CONFLICT, Outcome.FENCED, Outcome.APPLIED]
    found = await store.steps(["key-1", "key-2", "key-3"])
    assert found == {"key-1": [step("1", "pay")], "key-2": [], "key-3": [step("3", "pay")]}


async def test_commits_are_applied_in_the_order_of_their_submission(store: Store) -> None:
    commits = [store.commit(started("1"))]
    for seq in range(1, 50):
        commits.append(store.commit(FenceRun("key-1", ME), PutStep(step("1", "pay", attempts=seq))))
        commits.append(store.commit(UpdateRun(run("1", updated_us=seq))))

    outcomes = {await each for each in commits}

    assert outcomes == {Outcome.APPLIED}
    assert await store.steps(["key-1"]) == {"key-1": [step("1", "pay", attempts=49)]}
    assert await store.run(APP, "run-1") == run("1", updated_us=49)


async def test_what_was_submitted_together_sees_what_came_before_it(store: Store) -> None:
    await store.commit(started("1"))
    fence = FenceRun("key-1", ME)
    commits: list[tuple[Write, ...]] = [
        (fence, InsertRun(child("2", of="1"))),
        (fence, UpdateChild(child("2", of="1", status=RunStatus.COMPLETED))),
        (fence, StageEvent(outgoing("a"))),
        (DropOutgoing(("a",)),),
    ]

    outcomes = [await each for each in [store.commit(*writes) for writes in commits]]
    children = await store.children(["key-1"])

    assert set(outcomes) == {Outcome.APPLIED}
    assert [each.status for each in children["key-1"]] == [RunStatus.COMPLETED]
    assert await store.outgoing(APP, limit=10) == []


async def test_what_happens_to_a_record_after_its_commit_is_not_stored(store: Store) -> None:
    record, checkpoint, event, queued = run("1"), step("1", "pay"), outgoing("e"), delivery("e")

    commit = store.commit(InsertRun(record), PutStep(checkpoint), StageEvent(event), Enqueue((queued,)))
    record.status, checkpoint.attempts, event.message, queued.body = RunStatus.FAILED, 7, b"changed", b"changed"
    await commit

    assert await store.run(APP, "run-1") == run("1")
    assert await store.steps(["key-1"]) == {"key-1": [step("1", "pay")]}
    assert await store.outgoing(APP, limit=1) == [outgoing("e")]
    (taken,) = await store.take(APP, "greet", ME, limit=1, now_us=1_000)
    assert taken.body == delivery("e").body


async def test_what_is_read_is_not_the_store_itself(store: Store) -> None:
    await store.commit(started("1"), PutStep(step("1", "pay")))

    found, steps = await store.run(APP, "run-1"), await store.steps(["key-1"])
    assert found is not None
    found.status, steps["key-1"][0].attempts = RunStatus.FAILED, 7

    assert await store.run(APP, "run-1") == run("1")
    assert await store.steps(["key-1"]) == {"key-1": [step("1", "pay")]}


async def test_a_commit_whose_caller_is_cancelled_is_applied_all_the_same(store: Store) -> None:
    async def start() -> None:
        await store.commit(started("1"))

    task = asyncio.ensure_future(start())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await store.commit(started("2"))

    assert await store.run(APP, "run-1") == run("1")


async def test_a_commit_that_nobody_awaits_is_applied(store: Store) -> None:
    store.commit(started("1"))

    await store.commit(started("2"))

    assert await store.run(APP, "run-1") == run("1")


async def test_a_commit_of_nothing_is_applied(store: Store) -> None:
    assert await store.commit() is Outcome.APPLIED
    assert await store.commit(DropOutgoing(()), Enqueue(())) is Outcome.APPLIED
    assert store.trouble == ""


async def test_a_checkpoint_is_replaced_by_the_next_one_of_its_name(store: Store) -> None:
    full = step(
        "1",
        "pay",
        seq=3,
        input=b"1",
        output=b"2",
        undo=b"3",
        failures=b"[4]",
        ended_us=5,
        done_seq=6,
        events=b"[7]",
        due_us=8,
        awaits="paid:1",
    )
    await store.commit(started("1"), PutStep(step("1", "pay")), PutStep(step("1", "ship", seq=2)))

    await store.commit(FenceRun("key-1", ME), PutStep(full))

    assert await store.steps(["key-1"]) == {"key-1": [step("1", "ship", seq=2), full]}


async def test_a_graph_may_be_kept_twice(store: Store) -> None:
    first = await store.commit(PutGraph("abc", "place-order", b"{}"))

    second = await store.commit(started("1"), PutGraph("abc", "place-order", b"{}"))

    assert (first, second) == (Outcome.APPLIED, Outcome.APPLIED)
    assert await store.run(APP, "run-1") == run("1")


async def test_an_event_is_handled_once_by_each_subscriber(store: Store) -> None:
    outcomes = [
        await store.commit(handled("e1")),
        await store.commit(handled("e1", handled_us=2_000)),
        await store.commit(handled("e1", subscriber="bill")),
        await store.commit(handled("e1", source="shop")),
        await store.commit(handled("e1", event_name="customer.deleted")),
        await store.commit(handled("e1", app="bank")),
    ]

    assert outcomes == [Outcome.APPLIED, Outcome.CONFLICT] + [Outcome.APPLIED] * 4
    assert await store.handled(APP, "bill", "crm", "customer.created", "e1") is not None
    assert await store.handled(APP, "bill", "crm", "customer.created", "e2") is None


async def test_a_store_that_works_has_no_trouble(store: Store) -> None:
    await store.commit(started("1"))

    assert store.trouble == ""
