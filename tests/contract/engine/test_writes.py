"""How few durable writes a run needs; each is an fsync."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from daemon import Retry, parallelize, workflow
from daemon.clock import ManualClock
from daemon.engine.journal import Journal as RunJournal
from daemon.engine.ports import Ports
from daemon.store.port import Store
from daemon.store.writes import InsertRun, PutStep
from tests.contract import records
from tests.contract.engine.processes import APP, CountingStore, Journal, Process


@pytest.fixture
def counting(store: Store) -> CountingStore:
    return CountingStore(store)


@pytest.fixture
async def counted(counting: CountingStore, clock: ManualClock) -> AsyncIterator[Process]:
    process = Process(counting, clock, "process-1")
    await process.announce()
    yield process
    await process.engine.drain(0)


async def test_a_run_of_n_steps_needs_one_write_more_than_steps(
    counted: Process, counting: CountingStore, journal: Journal
) -> None:
    steps = [journal.step(f"step-{index}") for index in range(5)]

    @workflow("five")
    def five() -> None:
        for each in steps:
            each()

    await five(counted.container).run()

    assert len(counting.commits) == 6


async def test_idempotent_steps_ride_on_the_next_write(
    counted: Process, counting: CountingStore, journal: Journal
) -> None:
    steps = [journal.step(f"step-{index}", idempotent=index % 2 == 1) for index in range(4)]

    @workflow("mixed")
    def mixed() -> None:
        for each in steps:
            each()

    await mixed(counted.container).run()

    assert [len([write for write in writes if type(write).__name__ == "PutStep"]) for writes in counting.commits] == [
        0,  # the start
        2,  # before step-2: step-0, and step-1 that rides along
        2,  # the end, with step-2 and step-3
    ]


async def test_a_group_needs_no_write_between_its_members(
    counted: Process, counting: CountingStore, journal: Journal
) -> None:
    before, left, right = (journal.step(name) for name in ("before", "left", "right"))

    @workflow("grouped")
    def grouped() -> None:
        before()
        parallelize(left(), right())

    await grouped(counted.container).run()

    assert len(counting.commits) == 3


async def test_a_rollback_needs_one_write_for_its_intent_and_one_for_each_compensation(
    counted: Process, counting: CountingStore, journal: Journal
) -> None:
    first, second, broken = journal.step("first"), journal.step("second"), journal.failing()

    @workflow("undone")
    def undone() -> None:
        first()
        second()
        broken()

    await undone(counted.container).run(raise_on_error=False)

    assert len(counting.commits) == 1 + 2 + 1 + 2  # start, two steps, intent, two compensations of which the last ends


async def test_a_rollback_of_nothing_needs_one_write(
    counted: Process, counting: CountingStore, journal: Journal
) -> None:
    broken = journal.failing()

    @workflow("nothing-undone")
    def nothing_undone() -> None:
        broken()

    await nothing_undone(counted.container).run(raise_on_error=False)

    assert len(counting.commits) == 2


async def test_a_retry_at_once_needs_no_write(counted: Process, counting: CountingStore, journal: Journal) -> None:
    flaky = journal.step("flaky", fails=OSError(), retry=Retry(max_attempts=5))

    @workflow("flaky-run")
    def flaky_run() -> None:
        flaky()

    await flaky_run(counted.container).run(raise_on_error=False)

    assert len(counting.commits) == 2


async def test_what_a_refused_commit_took_along_is_durable_before_anybody_goes_on(
    store: Store, clock: ManualClock
) -> None:
    record = records.run("1")
    await store.commit(InsertRun(record))
    writing = RunJournal(Ports(store, clock, APP, record.owner, 1_000, 30.0), record)

    writing.pending.append(PutStep(records.step("1", "first")))
    refused = asyncio.create_task(writing.flush(InsertRun(record)))
    await asyncio.sleep(0)
    await writing.flush()  # of a member of the same group, whose step it was
    steps = (await store.steps([record.key]))[record.key]

    assert not await refused
    assert [each.name for each in steps] == ["first"]
