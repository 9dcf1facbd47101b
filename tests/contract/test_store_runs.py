"""Reading and finding runs."""

import itertools
import json

import pytest

from daemon.clock import new_id
from daemon.store.listing import matches
from daemon.store.model import RunRecord, RunStatus
from daemon.store.port import FoundRuns, RunFilter, Store
from daemon.store.writes import InsertRun, PutStep
from tests.contract.records import APP, names, run, started, step


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
