"""What is ordered of jobs: pauses, and firings beside the schedule."""

import asyncio
import json

from daemon.store.job_model import Claimed, FiringState, JobAction, JobRecord
from daemon.store.port import Store
from daemon.store.writes import Outcome
from tests.contract.jobs import (
    MISSED,
    PAUSED,
    RUNNING,
    claim,
    claimed,
    declare,
    end,
    known,
    outcomes,
    pause,
    resume,
    waiting,
)
from tests.contract.records import APP, ME, firing


async def test_what_comes_due_in_a_pause_is_skipped_with_who_and_why(store: Store) -> None:
    await declare(store, "nightly")

    first = await store.order_job(pause())
    again = await store.order_job(pause(by="bob"))
    answers = await store.claim_due(APP, [claim(510), waiting(520)], now_us=530)
    job = await known(store)

    ended = {"state": FiringState.SKIPPED, "attempt": 0, "ended_us": 530, "error": "paused by ada: move"}
    assert (first, again) == (True, False)
    assert answers == [Claimed(PAUSED, firing(at, **ended)) for at in (510, 520)]
    assert (job.paused_us, job.paused_by, job.paused_reason, job.used) == (500, "ada", "move", 0)


async def test_one_that_waits_is_skipped_when_its_job_is_paused_and_one_that_runs_goes_on(store: Store) -> None:
    await declare(store, "nightly")
    answers = await store.claim_due(APP, [claim(100), waiting(200)], now_us=200)
    runs, waits = (each.record for each in answers)
    assert runs is not None
    assert waits is not None
    await store.order_job(pause(reason=""))

    answer = await store.begin_firing(waits, overlap="queue", now_us=510)

    ended = {"state": FiringState.SKIPPED, "attempt": 0, "ended_us": 510, "error": "paused by ada"}
    assert answer == Claimed(PAUSED, firing(200, **ended))
    assert await end(store, runs) is Outcome.APPLIED
    assert (await known(store)).used == 1


async def test_a_pause_is_not_made_up_for(store: Store) -> None:
    await declare(store, "nightly")
    await store.order_job(pause())

    first = await store.order_job(resume())
    again = await store.order_job(resume())

    assert (first, again) == (True, False)
    job = await known(store)
    assert (job.paused_us, job.paused_by, job.paused_reason) == (None, "", "")
    assert await claimed(store, claim(700)) == [RUNNING]


async def test_what_came_due_in_a_pause_is_skipped_also_by_who_claims_it_when_it_is_over(store: Store) -> None:
    await declare(store, "nightly")
    for order in (pause(), resume(), pause(by="bob", reason="", at_us=700), resume(at_us=800)):
        await store.order_job(order)
    times = (499, 500, 600, 601, 700, 800, 801)

    answers = await store.claim_due(APP, [claim(at, overlap="allow") for at in times], now_us=900)

    assert outcomes(answers) == [RUNNING, PAUSED, PAUSED, RUNNING, PAUSED, PAUSED, RUNNING]
    assert [each.error for each in (await store.firings(APP, "nightly", limit=9))[::-1]] == [
        *("", "paused by ada: move", "paused by ada: move", "", "paused by bob", "paused by bob", "")
    ]


async def test_what_was_missed_before_a_pause_is_no_part_of_it(store: Store) -> None:
    await declare(store, "nightly")
    await store.order_job(pause())

    missed = [claim(at, state=FiringState.MISSED, ended_us=900) for at in (499, 500)]

    assert await claimed(store, *missed) == [MISSED, PAUSED]


async def test_only_the_last_pauses_are_remembered_and_of_those_what_is_not_dealt_with(store: Store) -> None:
    await declare(store, "nightly")
    for at_us in range(1_000, 1_300, 2):
        await store.order_job(pause(at_us=at_us))
        await store.order_job(resume(at_us=at_us + 1))
    many = json.loads((await known(store)).pauses)

    await claimed(store, claim(1_290))
    await store.order_job(pause(at_us=2_000))
    await store.order_job(resume(at_us=2_001))

    assert len(many) == 100
    assert [since_us for since_us, _, _ in json.loads((await known(store)).pauses)] == [
        *(1_290, 1_292, 1_294, 1_296, 1_298, 2_000)
    ]


async def test_a_job_may_be_paused_before_anybody_declares_it(store: Store) -> None:
    await store.order_job(pause())

    found = await declare(store, "nightly", at_us=900)

    expected = JobRecord(APP, "nightly", "f", "t", 900, 900, paused_us=500, paused_by="ada", paused_reason="move")
    assert found == {"nightly": expected}


async def test_orders_are_kept_in_their_order(store: Store) -> None:
    hints: list[None] = []
    store.on_hint(lambda: hints.append(None))

    for order in (pause(), resume(), pause(at_us=700), pause(job="hourly")):
        await store.order_job(order)
    await store.trigger_firing(firing(800, by="bob", reason="now\0"), overlap="skip")

    first = await store.job_orders(APP, "nightly", limit=2)
    second = await store.job_orders(APP, "nightly", limit=2, before=first[-1].position)
    assert [each.action for each in first] == [JobAction.TRIGGER, JobAction.PAUSE]
    assert (first[0].by, first[0].reason[:3], first[0].at_us) == ("bob", "now", 800)
    assert second == [resume(), pause()]
    assert await store.job_orders("bank", "nightly", limit=2) == []
    await asyncio.sleep(0)
    assert hints


async def test_old_orders_are_deleted(store: Store) -> None:
    for order in (pause(), resume(), pause(at_us=700)):
        await store.order_job(order)

    assert await store.prune_firings(APP, before_us=650, limit=10) == 2
    assert await store.job_orders(APP, "nightly", limit=9) == [pause(at_us=700)]
    assert (await known(store)).paused_us == 700


async def test_an_ordered_firing_is_nobodys_until_somebody_takes_it_over(store: Store) -> None:
    await declare(store, "nightly")
    asked = firing(800, by="ada", reason="late", state=FiringState.COMPLETED, epoch=4)

    ordered = await store.trigger_firing(asked, overlap="skip")
    (taken,) = await store.claim_firings(APP, ME, ["nightly"], limit=9)
    begun = await store.begin_firing(taken, overlap="queue", now_us=900)

    wanted = {"by": "ada", "reason": "late", "trigger": "manual", "state": FiringState.WAITING, "attempt": 0}
    assert ordered == firing(800, owner="", **wanted)
    assert taken == firing(800, **wanted)
    assert begun.outcome is RUNNING
    assert await known(store) == JobRecord(APP, "nightly", "f", "t", 50, 50)


async def test_a_firing_cannot_be_ordered_that_may_not_overlap_with_one_that_goes_on(store: Store) -> None:
    await declare(store, "nightly")
    await claimed(store, claim(100))

    refused = await store.trigger_firing(firing(800), overlap="skip")
    queued = await store.trigger_firing(firing(800), overlap="queue")
    beside = await store.trigger_firing(firing(800), overlap="allow")

    assert refused is None
    assert queued is not None
    assert beside is not None
    assert beside.scheduled_us == queued.scheduled_us + 1
    assert len(await store.job_orders(APP, "nightly", limit=9)) == 2


async def test_an_ordered_firing_never_takes_the_time_of_one_that_is_scheduled(store: Store) -> None:
    await declare(store, "nightly")

    ordered = await store.trigger_firing(firing(60_000_000), overlap="skip")

    assert ordered is not None
    assert ordered.scheduled_us == 60_000_001


async def test_a_firing_may_be_ordered_in_a_pause_and_begins(store: Store) -> None:
    await declare(store, "nightly")
    await store.order_job(pause())
    await store.trigger_firing(firing(800), overlap="skip")
    (taken,) = await store.claim_firings(APP, ME, ["nightly"], limit=9)

    assert (await store.begin_firing(taken, overlap="queue", now_us=900)).outcome is RUNNING
