"""Reading, finding and taking over runs; claiming firings."""

import asyncio
import itertools
import json

import pytest

from daemon.clock import new_id
from daemon.store.listing import matches
from daemon.store.model import FiringState, RunRecord, RunStatus
from daemon.store.port import FoundRuns, RunFilter, Store
from daemon.store.writes import (
    FenceRun,
    InsertRun,
    Outcome,
    PutStep,
    ReopenRun,
    RequestCancel,
    RequireEnded,
    UpdateFiring,
    UpdateRun,
)
from tests.contract.records import APP, GONE, ME, OTHER, fire, firing, run, started, step


def names(records: list[RunRecord]) -> list[str]:
    return [record.key.removeprefix("key-") for record in records]


async def test_a_run_that_is_not_there_is_none(store: Store) -> None:
    assert await store.run(APP, "run-1") is None


async def test_the_latest_attempt_of_a_run_is_the_run_and_the_former_ones_are_listed(store: Store) -> None:
    for attempt in (1, 2, 10):
        await store.commit(started("1", key=f"key-{attempt:02d}", attempt=attempt, status=RunStatus.REVERTED))

    latest = await store.run(APP, "run-1")

    assert latest is not None
    assert latest.attempt == 10
    assert names((await store.runs(APP, RunFilter(), after=None, limit=10)).records) == ["10", "02", "01"]


async def test_runs_are_listed_newest_first_in_pages_without_gaps(store: Store) -> None:
    for number in (3, 1, 5, 2, 4):
        await store.commit(started(str(number)))
    await store.commit(started("9", app="bank"))

    first = (await store.runs(APP, RunFilter(), after=None, limit=2)).records
    second = (await store.runs(APP, RunFilter(), after=first[-1].key, limit=2)).records
    third = (await store.runs(APP, RunFilter(), after=second[-1].key, limit=2)).records

    assert [names(page) for page in (first, second, third)] == [["5", "4"], ["3", "2"], ["1"]]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (RunFilter(), ["3", "2", "1"]),
        (RunFilter(workflow="ship-order"), ["2"]),
        (RunFilter(status=RunStatus.RUNNING), ["1"]),
        (RunFilter(status=RunStatus.COMPLETED), ["2"]),
        (RunFilter(status=RunStatus.FAILED), ["3"]),
        (RunFilter(trigger="event"), ["3", "2"]),
        (RunFilter(trigger="event:greet"), ["2"]),
        (RunFilter(trigger="event:gre"), []),
        (RunFilter(trigger="job"), []),
        (RunFilter(since_us=2_000), ["3", "2"]),
        (RunFilter(text="UN-3"), ["3"]),
        (RunFilter(text="SHIP"), ["2"]),
        (RunFilter(text="ada löwe"), ["2"]),
        (RunFilter(text="card refused"), ["3"]),
        (RunFilter(text="100%"), ["1"]),
        (RunFilter(text="100_"), []),
        (RunFilter(workflow="place-order", status=RunStatus.FAILED, text="refused", since_us=1), ["3"]),
        (RunFilter(workflow="place-order", status=RunStatus.COMPLETED), []),
    ],
    ids=str,
)
async def test_a_filter_finds_the_runs_that_meet_all_of_it(store: Store, wanted: RunFilter, found: list[str]) -> None:
    await store.commit(started("1", input=b'{"discount":"100%"}'))
    await store.commit(
        started(
            "2",
            workflow="ship-order",
            status=RunStatus.COMPLETED,
            trigger=b'{"kind":"event","name":"greet","id":"e1"}',
            created_us=2_000,
            input='{"to":"Ada LÖWE"}'.encode(),
        )
    )
    await store.commit(
        started(
            "3",
            status=RunStatus.FAILED,
            trigger=b'{"kind":"event","name":"greet-again","id":"e1"}',
            created_us=3_000,
            input=None,
            errors=b'[{"message":"Card refused"}]',
        )
    )

    everything = (await store.runs(APP, wanted, after=None, limit=10)).records
    page = (await store.runs(APP, wanted, after=None, limit=1)).records

    assert names(everything) == found
    assert names(page) == found[:1]


FILTERS = [
    RunFilter(workflow=workflow, status=status, trigger=trigger, since_us=since_us, text=text)
    for workflow, status, trigger, since_us, text in itertools.product(
        (None, "ship-order", "audit"),
        (None, RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.WAITING),
        (None, "event", "event:ship", "job"),
        (None, 400_000),
        (None, "LÖWE 1", "run-77"),
    )
]


def many_runs() -> list[RunRecord]:
    """Runs of the same workflows, ends and triggers in all their combinations, the rare ones among the oldest."""
    statuses = [*[RunStatus.COMPLETED] * 5, RunStatus.FAILED, RunStatus.WAITING]
    triggers = ["event:enter", "event:ship", "request:", "call:"]
    records = []
    for number in range(600):
        kind, _, name = ("job:audit" if number < 3 else triggers[number % 4]).partition(":")
        records.append(
            run(
                f"{number}",
                key=new_id(number * 1_000),
                created_us=number * 1_000,
                workflow="audit" if number % 200 == 5 else ["place-order", "ship-order"][number // 30 % 2],
                status=statuses[number % 7],
                trigger=json.dumps({"kind": kind, "name": name, "id": "1"}).encode(),
                input=f'{{"to":"Löwe {number % 100}"}}'.encode(),
                app="bank" if number % 50 == 7 else APP,
            )
        )
    return records


async def pages(store: Store, wanted: RunFilter, *, limit: int) -> list[FoundRuns]:
    """Follow pages to the last one; none of them has any time."""
    found = [await store.runs(APP, wanted, after=None, limit=limit, within_s=0)]
    while found[-1].next is not None:
        found.append(await store.runs(APP, wanted, after=found[-1].next, limit=limit, within_s=0))
    return found


async def test_pages_have_all_that_a_filter_wants_once_however_little_time_there_is(store: Store) -> None:
    records = many_runs()
    await store.commit(*map(InsertRun, records))

    for wanted in FILTERS:
        found = [each for page in await pages(store, wanted, limit=20) for each in page.records]

        expected = [each.run_id for each in reversed(records) if each.app == APP and matches(each, wanted)]
        assert sorted(each.run_id for each in found) == sorted(expected), wanted
        if wanted.text != "run-77":
            assert [each.run_id for each in found] == expected, wanted


async def test_a_page_holds_no_more_than_asked_for_and_the_last_one_alone_has_none_after_it(store: Store) -> None:
    await store.commit(*map(InsertRun, many_runs()))

    found = await pages(store, RunFilter(text="löwe"), limit=20)

    assert {len(page.records) for page in found[:-1]} == {20}
    assert 0 < len(found[-1].records) <= 20


async def test_a_run_that_is_looked_for_by_its_id_is_on_the_first_page_and_on_no_other(store: Store) -> None:
    await store.commit(*map(InsertRun, many_runs()))

    found = await pages(store, RunFilter(text="run-77"), limit=20)

    assert [each.run_id for each in found[0].records] == ["run-77"]
    assert [each.run_id for page in found[1:] for each in page.records] == []


async def test_checkpoints_come_by_run_in_the_order_of_their_start(store: Store) -> None:
    await store.commit(started("1"), *[PutStep(step("1", f"s{seq}", seq=seq)) for seq in (10, 2, 1)])
    await store.commit(started("2"), PutStep(step("2", "pay")))

    found = await store.steps(["key-2", "key-1", "key-3"])

    assert {key: [each.name for each in steps] for key, steps in found.items()} == {
        "key-2": ["pay"],
        "key-1": ["s1", "s2", "s10"],
        "key-3": [],
    }
    assert await store.steps([]) == {}


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
