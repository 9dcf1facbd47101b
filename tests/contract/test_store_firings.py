"""Firings: one of each time, listed, written and taken over."""

from daemon.store.job_model import FiringState
from daemon.store.port import Store
from daemon.store.writes import Outcome, ReleaseFiring, UpdateFiring
from tests.contract.jobs import TAKEN, claim, declare, end, waiting
from tests.contract.records import APP, GONE, ME, OTHER, fire, firing


async def test_a_time_is_one_firing_of_each_job_and_application(store: Store) -> None:
    await fire(store, firing(100), firing(200, owner=OTHER), firing(100, job="hourly"), firing(100, app="bank"))

    assert await store.firings(APP, "nightly", limit=10) == [firing(200, owner=OTHER), firing(100)]
    assert await store.firings(APP, "hourly", limit=10) == [firing(100, job="hourly")]
    assert await store.firings("bank", "nightly", limit=10) == [firing(100, app="bank")]


async def test_a_firing_is_updated_by_its_owner_alone(store: Store) -> None:
    await fire(store, firing(100))
    ended = firing(100, state=FiringState.FAILED, attempt=2, ended_us=300, error="it broke")

    outcomes = [
        await store.commit(UpdateFiring(ended)),
        await store.commit(UpdateFiring(firing(100, owner=OTHER))),
        await store.commit(UpdateFiring(firing(999))),
    ]

    assert outcomes == [Outcome.APPLIED, Outcome.FENCED, Outcome.FENCED]
    (stored,) = await store.firings(APP, "nightly", limit=10)
    assert stored == ended
    assert isinstance(stored.state, FiringState)


async def test_firings_come_latest_first_in_pages(store: Store) -> None:
    for scheduled_us in (300, 100, 500, 200, 400):
        await fire(store, firing(scheduled_us))

    first = await store.firings(APP, "nightly", limit=3)
    second = await store.firings(APP, "nightly", limit=3, before_us=first[-1].scheduled_us)

    assert [[each.scheduled_us for each in page] for page in (first, second)] == [[500, 400, 300], [200, 100]]


async def test_running_firings_of_the_dead_are_taken_over_as_the_next_attempt_and_epoch(store: Store) -> None:
    await store.register(APP, OTHER, lease_s=60)
    for scheduled_us, owner in ((300, GONE), (100, GONE), (400, OTHER), (500, ME)):
        await fire(store, firing(scheduled_us, owner=owner))

    claimed = await store.claim_firings(APP, ME, ["nightly"], limit=10)

    taken = {"attempt": 2, "epoch": 1}
    assert claimed == [firing(100, **taken), firing(300, **taken)]
    assert (await store.firings(APP, "nightly", limit=10))[-2:] == [firing(300, **taken), firing(100, **taken)]
    assert await store.claim_firings(APP, ME, ["nightly"], limit=10) == []


async def test_only_open_firings_of_these_jobs_and_this_application_are_taken_over(store: Store) -> None:
    ended = [state for state in FiringState if state not in (FiringState.RUNNING, FiringState.WAITING)]
    for number, state in enumerate(ended):
        await fire(store, firing(number, owner=GONE, state=state))
    await fire(store, firing(100, owner=GONE, job="hourly"))
    await fire(store, firing(200, owner=GONE, app="bank"))

    claimed = await store.claim_firings(APP, ME, ["nightly", "weekly"], limit=10)

    assert claimed == []
    assert await store.claim_firings(APP, ME, [], limit=10) == []


async def test_no_more_firings_are_taken_over_than_asked_for_and_the_earliest_first(store: Store) -> None:
    for scheduled_us, job in ((300, "nightly"), (100, "hourly"), (200, "nightly")):
        await fire(store, firing(scheduled_us, owner=GONE, job=job))

    first = await store.claim_firings(APP, ME, ["nightly", "hourly"], limit=2)
    second = await store.claim_firings(APP, ME, ["nightly", "hourly"], limit=2)

    assert [[each.scheduled_us for each in some] for some in (first, second)] == [[100, 200], [300]]


async def test_a_firing_that_was_taken_over_is_no_longer_its_former_owners(store: Store) -> None:
    await fire(store, firing(100, owner=GONE))
    await store.claim_firings(APP, ME, ["nightly"], limit=1)

    outcome = await store.commit(UpdateFiring(firing(100, owner=GONE, state=FiringState.COMPLETED)))

    assert outcome is Outcome.FENCED


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
