"""Jobs: who fires them, one firing in the whole fleet, pauses, orders, and what is known of each."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from daemon.store.job_model import (
    OPEN_MAX,
    Claimed,
    ClaimOutcome,
    Deployed,
    FiringClaim,
    JobAction,
    JobDeclaration,
    JobOrder,
    JobRecord,
)
from daemon.store.model import FiringRecord, FiringState
from daemon.store.port import Store
from daemon.store.writes import Outcome, ReleaseFiring, UpdateFiring
from tests.contract.records import APP, GONE, ME, OTHER, firing

RUNNING, WAITING, SKIPPED = ClaimOutcome.RUNNING, ClaimOutcome.WAITING, ClaimOutcome.SKIPPED
TAKEN, OVER, PAUSED, MISSED = ClaimOutcome.TAKEN, ClaimOutcome.OVER, ClaimOutcome.PAUSED, ClaimOutcome.MISSED
SUPERSEDED = ClaimOutcome.SUPERSEDED


async def declare(
    store: Store, *names: str, owner: str = ME, at_us: int = 50, deployment: str = "first", **changes: Any
) -> dict[str, JobRecord]:
    values = {"fingerprint": "f", "times": "t"} | changes
    dropped = values.pop("dropped", ())
    jobs = [JobDeclaration(name, **values) for name in names]
    return dict(await store.declare_jobs(Deployed(APP, owner, deployment, at_us, jobs, dropped)))


def claim(scheduled_us: int, **changes: Any) -> FiringClaim:
    options: dict[str, Any] = {"fingerprint": "f"}
    options |= {name: changes.pop(name) for name in ("fingerprint", "overlap", "max_runs") if name in changes}
    return FiringClaim(firing(scheduled_us, **changes), **options)


def waiting(scheduled_us: int, **changes: Any) -> FiringClaim:
    return claim(scheduled_us, **{"state": FiringState.WAITING, "attempt": 0} | changes)


async def claimed(store: Store, *claims: FiringClaim, now_us: int = 1_000) -> list[ClaimOutcome]:
    return outcomes(await store.claim_due(APP, claims, now_us=now_us))


def outcomes(answers: Sequence[Claimed]) -> list[ClaimOutcome]:
    return [each.outcome for each in answers]


async def known(store: Store, name: str = "nightly") -> JobRecord:
    return (await store.jobs(APP, [name]))[name]


async def end(store: Store, record: FiringRecord, *, hint: bool = False) -> Outcome:
    record.state, record.ended_us = FiringState.COMPLETED, 2_000
    return await store.commit(UpdateFiring(record, hint=hint))


def pause(**changes: Any) -> JobOrder:
    values: dict[str, Any] = {"app": APP, "job": "nightly", "action": JobAction.PAUSE, "by": "ada", "reason": "move"}
    return JobOrder(**{**values, "at_us": 500, **changes})


def resume(**changes: Any) -> JobOrder:
    return pause(**{"action": JobAction.RESUME, "reason": "", "at_us": 600} | changes)


# --- declarations ---
async def test_a_job_that_nobody_knew_is_dealt_with_until_now(store: Store) -> None:
    found = await declare(store, "nightly", "hourly")

    again = await declare(store, "nightly", "hourly", at_us=90)

    assert found["nightly"] == JobRecord(APP, "nightly", "f", "t", 50, 50)
    assert found == again == await store.jobs(APP)
    assert await store.jobs(APP, ["nightly", "unknown"]) == {"nightly": found["nightly"]}
    assert await store.jobs(APP, []) == {}
    assert await store.jobs("bank") == {}


async def test_a_newer_deployment_has_its_way_and_the_older_one_is_told(store: Store) -> None:
    await store.register(APP, ME, lease_s=60)
    await store.register(APP, OTHER, lease_s=60)
    await declare(store, "nightly")

    newer = await declare(store, "nightly", owner=OTHER, deployment="second", fingerprint="g", times="u", at_us=70)
    older = await declare(store, "nightly", at_us=80)

    assert newer == older == {"nightly": JobRecord(APP, "nightly", "g", "u", 70, 70)}
    assert await claimed(store, claim(100)) == [SUPERSEDED]
    assert await claimed(store, claim(100, owner=OTHER, fingerprint="g")) == [RUNNING]
    assert (await known(store)).dealt_us == 100


async def test_an_older_deployment_has_its_way_once_no_process_of_the_newer_one_lives(store: Store) -> None:
    await store.register(APP, ME, lease_s=60)
    await store.register(APP, OTHER, lease_s=60)
    await declare(store, "nightly")
    await declare(store, "nightly", owner=OTHER, deployment="second", fingerprint="g", times="u", at_us=70)

    await store.retire(OTHER)
    found = await declare(store, "nightly", at_us=80)

    assert found["nightly"] == JobRecord(APP, "nightly", "f", "t", 50, 80)


async def test_a_job_with_the_same_times_is_not_dealt_with_because_something_else_of_it_changed(store: Store) -> None:
    await declare(store, "nightly")

    found = await declare(store, "nightly", deployment="second", fingerprint="g", at_us=70)

    assert found["nightly"] == JobRecord(APP, "nightly", "g", "t", 70, 50)


async def test_a_job_that_was_turned_off_is_dealt_with_until_it_is_declared_again(store: Store) -> None:
    await declare(store, "nightly", "hourly")

    await declare(store, deployment="second", dropped=["nightly", "hourly", "unknown"], at_us=60)
    await claimed(store, claim(70, job="hourly"))
    dropped = await store.jobs(APP)
    found = await declare(store, "nightly", "hourly", deployment="third", at_us=90)

    assert {name: job.dropped_us for name, job in dropped.items()} == {"nightly": 60, "hourly": None}
    assert {name: job.dealt_us for name, job in found.items()} == {"nightly": 90, "hourly": 70}
    assert found["nightly"].dropped_us is None


# --- claims ---
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


# --- pauses ---
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


# --- firings that somebody orders ---
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


# --- firings that change hands ---
async def test_a_firing_that_is_released_is_taken_over_and_nobody_has_died(store: Store) -> None:
    await declare(store, "nightly", "hourly")
    await store.register(APP, OTHER, lease_s=60)
    answers = await store.claim_due(APP, [claim(100, owner=OTHER), waiting(200, owner=OTHER)], now_us=200)
    runs, waits = (each.record for each in answers)
    assert runs is not None
    assert waits is not None

    outcome = await store.commit(ReleaseFiring(runs), ReleaseFiring(waits))
    again = await store.commit(ReleaseFiring(runs))
    taken = await store.claim_firings(APP, ME, ["nightly"], limit=9)

    assert (outcome, again) == (Outcome.APPLIED, Outcome.FENCED)
    assert taken == [firing(100, attempt=2), waiting(200).record]


async def test_what_a_former_owner_writes_of_a_firing_is_void(store: Store) -> None:
    await declare(store, "nightly")
    (answer,) = await store.claim_due(APP, [claim(100, owner=GONE)], now_us=100)
    late = (await store.claim_due(APP, [waiting(200, owner=GONE)], now_us=200))[0].record
    assert answer.record is not None
    assert late is not None
    taken = await store.claim_firings(APP, ME, ["nightly"], limit=9)

    stale = firing(100, state=FiringState.COMPLETED)
    void = [await end(store, answer.record), await store.commit(UpdateFiring(stale))]
    begun = await store.begin_firing(late, overlap="allow", now_us=300)

    assert taken == [firing(100, attempt=2, epoch=1), waiting(200, epoch=1).record]
    assert void == [Outcome.FENCED, Outcome.FENCED]
    assert begun.outcome is TAKEN


async def test_a_firing_that_waits_for_its_next_attempt_is_taken_over_in_it(store: Store) -> None:
    await declare(store, "nightly")
    (answer,) = await store.claim_due(APP, [claim(100)], now_us=100)
    record = answer.record
    assert record is not None
    record.due_us, record.failures = 900, b'[{"attempt":1}]'
    await store.commit(UpdateFiring(record))

    (taken,) = await store.claim_firings(APP, OTHER, ["nightly"], limit=9)

    assert taken == firing(100, owner=OTHER, epoch=1, due_us=900, failures=b'[{"attempt":1}]')


async def test_ten_thousand_jobs_are_declared_at_once(store: Store) -> None:
    names = [f"job-{number}" for number in range(10_000)]

    await declare(store, *names)
    found = await declare(store, *names, at_us=70)

    assert len(found) == 10_000
    assert {job.dealt_us for job in found.values()} == {50}
