"""Claiming firings: each time has one in the whole fleet, and begins when it may."""

import asyncio

from daemon.store.job_model import OPEN_MAX, Claimed, FiringState, JobRecord
from daemon.store.port import Store
from tests.contract.jobs import (
    MISSED,
    OVER,
    RUNNING,
    SKIPPED,
    SUPERSEDED,
    TAKEN,
    WAITING,
    claim,
    claimed,
    declare,
    end,
    known,
    outcomes,
    waiting,
)
from tests.contract.records import APP, GONE, ME, OTHER, firing


async def test_of_two_that_claim_the_same_firings_in_other_orders_each_firing_has_one(store: Store) -> None:
    names = [f"job-{number:02}" for number in range(40)]
    await declare(store, *names)
    mine = [claim(100, job=name) for name in names]
    theirs = [claim(100, job=name, owner=OTHER) for name in reversed(names)]

    async with asyncio.TaskGroup() as group:
        first = group.create_task(store.claim_due(APP, mine, now_us=100))
        second = group.create_task(store.claim_due(APP, theirs, now_us=100))

    pairs = zip(outcomes(first.result()), reversed(outcomes(second.result())), strict=True)
    assert {frozenset(pair) for pair in pairs} == {frozenset({RUNNING, TAKEN})}
    assert {job.used for job in (await store.jobs(APP)).values()} == {1}
    assert {len(await store.firings(APP, name, limit=5)) for name in names} == {1}


async def test_what_is_claimed_is_stored_as_it_is_answered(store: Store) -> None:
    await declare(store, "nightly")
    late = waiting(200, due_us=250, started_us=90)

    answers = await store.claim_due(APP, [claim(100), late], now_us=100)

    stored = await store.firings(APP, "nightly", limit=5)
    assert [each.record for each in answers] == stored[::-1] == [claim(100).record, late.record]
    assert await store.firings(APP, "nightly", limit=5, state=FiringState.WAITING) == [late.record]
    assert (await known(store)).used == 2
    assert (await known(store)).dealt_us == 200


async def test_a_firing_is_skipped_while_one_goes_on_wherever_that_is(store: Store) -> None:
    await declare(store, "nightly", "hourly")
    await store.register(APP, OTHER, lease_s=60)
    await claimed(store, claim(100, owner=OTHER), claim(100, job="hourly", owner=GONE))

    answers = await store.claim_due(APP, [claim(200), claim(200, job="hourly")], now_us=210)

    ended = {"state": FiringState.SKIPPED, "attempt": 0, "ended_us": 210, "error": "the firing before goes on"}
    assert answers[0] == Claimed(SKIPPED, firing(200, **ended))
    assert answers[1] == Claimed(SKIPPED, firing(200, job="hourly", **ended))
    assert (await store.last_firings(APP, ["nightly", "none"])) == {"nightly": firing(200, **ended)}
    assert (await known(store)).used == 1


async def test_a_firing_waits_for_its_turn_while_one_goes_on_wherever_that_is(store: Store) -> None:
    await declare(store, "nightly")
    await store.register(APP, OTHER, lease_s=60)
    first, second, third = [
        (await store.claim_due(APP, [claim(at, overlap="queue", owner=owner)], now_us=at))[0]
        for at, owner in ((100, OTHER), (200, ME), (300, OTHER))
    ]
    assert first.record is not None
    assert second.record is not None
    assert third.record is not None
    hints: list[None] = []
    store.on_hint(lambda: hints.append(None))

    busy = await store.begin_firing(second.record, overlap="queue", now_us=310)
    await end(store, first.record, hint=True)
    queued = await store.begin_firing(third.record, overlap="queue", now_us=320)
    begun = await store.begin_firing(second.record, overlap="queue", now_us=330)
    again = await store.begin_firing(second.record, overlap="queue", now_us=340)

    assert outcomes([first, second, third]) == [RUNNING, WAITING, WAITING]
    assert outcomes([busy, queued, again]) == [WAITING, WAITING, TAKEN]
    assert begun == Claimed(RUNNING, firing(200, started_us=330))
    assert (await store.firings(APP, "nightly", limit=5, before_us=300))[0] == begun.record
    await asyncio.sleep(0)
    assert hints


async def test_firings_that_may_overlap_begin_together(store: Store) -> None:
    await declare(store, "nightly")

    assert await claimed(store, claim(100, overlap="allow"), claim(200, overlap="allow")) == [RUNNING, RUNNING]
    late = (await store.claim_due(APP, [waiting(300)], now_us=300))[0].record
    assert late is not None
    assert (await store.begin_firing(late, overlap="allow", now_us=310)).outcome is RUNNING


async def test_one_that_waited_for_its_delay_is_skipped_if_another_runs_then_and_does_not_count(store: Store) -> None:
    await declare(store, "nightly")
    answers = await store.claim_due(APP, [waiting(100, due_us=150), claim(200, overlap="allow")], now_us=100)
    late = answers[0].record
    assert late is not None

    answer = await store.begin_firing(late, overlap="skip", now_us=160)

    ended = {"state": FiringState.SKIPPED, "attempt": 0, "ended_us": 160, "error": "the firing before goes on"}
    assert answer == Claimed(SKIPPED, firing(100, **ended))
    assert (await known(store)).used == 1


async def test_an_earlier_one_that_is_not_due_yet_holds_up_nobody(store: Store) -> None:
    await declare(store, "nightly")
    answers = await store.claim_due(APP, [waiting(100, due_us=900), waiting(200, due_us=250)], now_us=200)
    second = answers[1].record
    assert second is not None

    assert (await store.begin_firing(second, overlap="queue", now_us=260)).outcome is RUNNING


async def test_no_more_firings_run_than_max_runs_whoever_claims_them(store: Store) -> None:
    await declare(store, "nightly")

    async with asyncio.TaskGroup() as group:
        some = [
            group.create_task(claimed(store, claim(at, overlap="allow", max_runs=3, owner=owner)))
            for at, owner in ((100, ME), (200, OTHER), (300, ME), (400, OTHER), (500, ME))
        ]

    assert sorted(each for task in some for each in task.result()) == [OVER] * 2 + [RUNNING] * 3
    assert len(await store.firings(APP, "nightly", limit=9)) == 3
    assert (await known(store)).dealt_us == 500


async def test_missed_firings_are_recorded_once_and_do_not_count(store: Store) -> None:
    await declare(store, "nightly")
    missed = {"state": FiringState.MISSED, "attempt": 0, "ended_us": 5, "error": "nobody was there"}

    answers = await store.claim_due(APP, [claim(100, **missed), claim(200, **missed)], now_us=300)

    assert outcomes(answers) == [MISSED, MISSED]
    assert await claimed(store, claim(100, owner=OTHER, **missed)) == [TAKEN]
    assert await store.firings(APP, "nightly", limit=5) == [firing(200, **missed), firing(100, **missed)]
    assert await known(store) == JobRecord(APP, "nightly", "f", "t", 50, 200)


async def test_too_many_firings_of_one_job_are_skipped(store: Store) -> None:
    await declare(store, "nightly")
    many = [waiting(at) for at in range(1, OPEN_MAX + 2)]

    answers = await store.claim_due(APP, many, now_us=5_000)

    assert outcomes(answers) == [WAITING] * OPEN_MAX + [SKIPPED]
    assert answers[-1].record is not None
    assert answers[-1].record.error == "1,000 firings of this job run or wait already"


async def test_a_job_that_nobody_declared_cannot_be_claimed(store: Store) -> None:
    assert await claimed(store, claim(100)) == [SUPERSEDED]
