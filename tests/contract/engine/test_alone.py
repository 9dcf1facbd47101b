"""Runs of an engine that has its store, in memory, to itself: they are written once somebody could look at them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta
from typing import Any

import pytest

from daemon import Ref, Retry, RunStatus, transform, workflow
from daemon.clock import ManualClock
from daemon.errors import StoreUnavailableError
from daemon.store.memory import MemoryStore
from daemon.store.writes import Outcome, Write
from daemon.workflow.workflow import Workflow
from tests.contract.engine.listening import up_to
from tests.contract.engine.processes import Journal, Process, until


class _CountedStore(MemoryStore):
    """A store that counts its commits."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[tuple[Write, ...]] = []

    def commit(self, *writes: Write) -> Awaitable[Outcome]:
        """Count, and apply."""
        self.commits.append(writes)
        return super().commit(*writes)


@pytest.fixture
def counted() -> _CountedStore:
    """The store that the engine has to itself."""
    return _CountedStore()


@pytest.fixture
async def alone(counted: _CountedStore, clock: ManualClock) -> AsyncIterator[Process]:
    """A process that has its store to itself."""
    process = Process(counted, clock, "process-1", alone=True)
    yield process
    await process.engine.drain(0)


def _of(*named: str, journal: Journal, fails: BaseException | None = None, **options: Any) -> Workflow[int, None]:
    """Return a workflow of steps of which the last may fail."""
    steps = [journal.step(name) for name in named[:-1]]
    steps.append(journal.step(named[-1], fails=fails, **options))

    @workflow("of-" + "-".join(named))
    def composed(_: Ref[int]) -> None:
        for each in steps:
            each()

    return composed


async def test_a_run_that_has_nothing_to_wait_for_is_written_once(
    alone: Process, counted: _CountedStore, journal: Journal
) -> None:
    run = await _of("pick", "pack", "ship", journal=journal)(alone.container).run(1)
    stored = await alone.engine.list()

    assert len(counted.commits) == 1
    assert [each.run_id for each in stored.items] == [run.run_id]
    assert list(stored.items[0].steps) == ["pick", "pack", "ship"]
    assert stored.items[0].status is RunStatus.COMPLETED


async def test_what_is_undone_is_stored_as_undone(alone: Process, journal: Journal) -> None:
    failing = _of("pick", "pack", "ship", journal=journal, fails=OSError("no"))

    run = await failing(alone.container).run(1, raise_on_error=False)
    stored = await alone.engine.get(run.run_id)

    assert journal == ["pick", "pack", "ship", "undo pack", "undo pick"]
    assert stored.to_json() == run.to_json()
    assert stored.compensated == ["pack", "pick"]


async def test_a_run_that_has_to_wait_after_all_is_seen_with_what_it_has_done(
    alone: Process, clock: ManualClock, journal: Journal
) -> None:
    retry = Retry(max_attempts=2, delay=timedelta(milliseconds=500), jitter=0)
    trying = _of("pick", "try", journal=journal, fails=OSError("not yet"), retry=retry)

    caller = asyncio.create_task(trying(alone.container).run(1, raise_on_error=False))
    await until(clock.next_due_s, what="it waits")
    waiting = (await alone.engine.list()).items
    stored = await alone.store.steps([waiting[0].record.key])
    clock.advance(timedelta(seconds=1))
    ended = await caller

    assert [(each.name, each.state) for each in stored[waiting[0].record.key]] == [("pick", "completed")]
    assert waiting[0].status is RunStatus.RUNNING
    assert ended.status is RunStatus.REVERTED
    assert journal == ["pick", "try", "try", "undo pick"]


async def test_a_run_that_is_parked_is_returned_or_awaited_as_it_was_asked_for(
    alone: Process, clock: ManualClock, journal: Journal
) -> None:
    retry = Retry(max_attempts=2, delay=timedelta(hours=1), max_delay=timedelta(hours=1), jitter=0)
    trying = _of("pick", "try", journal=journal, fails=OSError("not yet"), retry=retry)

    parked = await trying(alone.container).run(1)
    to_the_end = asyncio.create_task(trying(alone.container).run(1, wait=True, raise_on_error=False))
    await until(lambda: len(journal) == 4, what="both wait")
    clock.advance(timedelta(hours=1))
    ended = await to_the_end

    assert parked.status is RunStatus.WAITING
    assert parked.waiting_for == "attempt 2 of try"
    assert ended.status is RunStatus.REVERTED
    assert ended.compensated == ["pick"]


async def test_a_run_that_is_interrupted_is_kept_as_it_stands(alone: Process, journal: Journal) -> None:
    pick = journal.step("pick")

    def stop(_: str) -> str:
        raise asyncio.CancelledError

    @workflow("stopping")
    def stopping() -> Ref[str]:
        return transform(pick(), stop)

    with pytest.raises(StoreUnavailableError):
        await stopping(alone.container).run()
    stored = (await alone.engine.list()).items

    assert [each.status for each in stored] == [RunStatus.RUNNING]
    assert list(stored[0].steps) == ["pick"]


async def test_whoever_watches_is_told_of_each_state_of_a_run_that_waits_for_nothing(
    alone: Process, journal: Journal
) -> None:
    failing = _of("pick", "ship", journal=journal, fails=OSError("no"))
    watch = alone.engine.watch()

    run = await failing(alone.container).run(1, raise_on_error=False)

    assert await up_to(watch, (run.run_id, "reverted")) == [
        (run.run_id, "running"),
        ("pick", "completed"),
        ("ship", "failed"),
        (run.run_id, "compensating"),
        ("pick", "compensated"),
        (run.run_id, "reverted"),
    ]
