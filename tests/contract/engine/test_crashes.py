"""A process that stops, or dies, in the middle: what another one finds and how it goes on."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest

from daemon import Ref, Retry, RunStatus, StoreUnavailableError, parallelize, step, workflow
from daemon.clock import ManualClock
from daemon.store.model import StepRecord
from daemon.store.port import Store
from daemon.store.writes import InsertRun, UpdateRun, Write
from daemon.workflow.workflow import SourceWorkflow
from tests.contract.engine.mortal import Mortal, living
from tests.contract.engine.outside import ended
from tests.contract.engine.processes import CountingStore, Journal, Process, until

Crash = Callable[[tuple[Write, ...], int], bool]


def _three_steps(journal: Journal, *, fails: bool) -> SourceWorkflow[None]:
    first, second, third = (journal.step(name) for name in ("first", "second", "third"))
    last = journal.failing("last") if fails else journal.step("last")

    @workflow("three-steps")
    def three_steps() -> None:
        first()
        parallelize(second(), third())
        last()

    return three_steps


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("fails", [False, True])
async def test_a_run_survives_a_crash_at_any_commit(
    store: Store, clock: ManualClock, *, fails: bool, committed: bool
) -> None:
    heir = await living(store, clock, "heir")
    for at in range(1, 100):
        journal = Journal()
        flow = _three_steps(journal, fails=fails)
        mortal = Mortal(store, clock, at=at, committed=committed)
        run_id = f"run-{at}"
        died = await mortal.live(flow(mortal.process.container).run(run_id=run_id, raise_on_error=False))
        before = list(journal)
        claimed = await heir.take_over(flow)
        await until(lambda: not heir.engine.running)
        if not before and not claimed:  # not even its start was durable
            await flow(heir.container).run(run_id=run_id, raise_on_error=False)
        run = await heir.engine.get(run_id)

        assert run.attempt == 1
        assert run.status is (RunStatus.REVERTED if fails else RunStatus.COMPLETED)
        _check_effects(before, journal[len(before) :], fails=fails)
        if not died:
            assert claimed == []
            assert at == len(mortal.store.commits) + 1
            return
    pytest.fail("it never ran to its end")


def _check_effects(before: list[str], after: list[str], *, fails: bool) -> None:
    """Every effect happened, in order; only those that were in doubt at the crash happened twice."""
    effects = before + after
    once = list(dict.fromkeys(effects))
    forward = [name for name in once if not name.startswith("undo")]
    back = [name for name in once if name.startswith("undo")]
    assert forward[0] == "first"
    assert set(forward[1:3]) == {"second", "third"}
    assert forward[3:] == ["last"]
    assert back[-1:] == (["undo first"] if fails else [])
    assert set(back) == ({"undo first", "undo second", "undo third"} if fails else set())
    repeated = {name for name in once if effects.count(name) > 1}
    stages: list[set[str]] = [{"first"}, {"second", "third"}, {"last"}, {"undo second", "undo third"}, {"undo first"}]
    assert any(repeated <= stage for stage in stages)
    if any(name.startswith("undo") for name in before):
        assert all(name.startswith("undo") for name in after), "a rollback never turns forward again"


async def test_a_process_that_was_taken_over_reports_nothing_and_undoes_nothing(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    @step("slow")
    async def slow() -> str:
        journal.append("slow")
        entered.set()
        await go_on.wait()
        return "output"

    @workflow("zombie")
    def zombie() -> Ref[str]:
        return slow()

    old, new = [await living(store, clock, name) for name in ("old", "new")]
    caller = asyncio.create_task(zombie(old.container).run(run_id="zombie-1"))
    await entered.wait()
    await store.retire("old")  # its lease is over, and it does not know
    new.engine.register([zombie])
    claimed = await store.claim_runs("shop", "new", ["zombie"], limit=10)
    go_on.set()
    with pytest.raises(StoreUnavailableError):
        await caller
    await new.engine.resume(claimed)
    run = await zombie(new.container).run(run_id="zombie-1")

    assert run.result == "output"
    assert journal == ["slow", "slow"]


async def test_a_run_whose_last_commit_fails_is_not_reported_as_ended(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    counting = CountingStore(store)

    async def refuse(writes: tuple[Write, ...]) -> None:
        if isinstance(writes[0], UpdateRun):
            msg = "the disk is gone"
            raise StoreUnavailableError(msg)

    counting.before_commit = refuse
    shop = Process(counting, clock, "process-1")
    first = journal.step("first")

    @workflow("unlucky")
    def unlucky() -> Ref[str]:
        return first()

    with pytest.raises(StoreUnavailableError, match="was interrupted"):
        await unlucky(shop.container).run(run_id="unlucky-1")

    stored = await store.run("shop", "unlucky-1")
    assert stored is not None
    assert stored.status is RunStatus.RUNNING


async def test_compensations_count_their_attempts_across_processes(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    retry = Retry(max_attempts=3, delay=timedelta(seconds=10))
    first = journal.step("first", undo_fails=OSError("busy"), compensation_retry=retry)
    broken = journal.failing()

    @workflow("counted")
    def counted() -> None:
        first()
        broken()

    old, new = [await living(store, clock, name) for name in ("old", "new")]
    await counted(old.container).run(run_id="counted-1", wait=False)
    await until(lambda: clock.next_due_s() is not None)
    await old.die()
    await new.take_over(counted)
    for _ in range(2):
        await until(lambda: clock.next_due_s() is not None)
        clock.advance(timedelta(seconds=10))
    run = await ended(new, "counted-1")

    assert journal == ["first", "break"] + ["undo first"] * 3
    assert (run.status, len(run.errors[-1].attempts)) == (RunStatus.FAILED, 3)


async def test_a_compensation_that_gave_up_before_a_crash_is_not_forgotten(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    entered = asyncio.Event()

    @step("zeroth")
    async def zeroth() -> str:
        return "output"

    @zeroth.compensate
    async def undo(_: str) -> None:
        entered.set()
        if len([name for name in journal if name == "undo zeroth"]) == 0:
            journal.append("undo zeroth")
            await asyncio.Event().wait()

    stuck, broken = journal.step("stuck", undo_fails=OSError("no way")), journal.failing()

    @workflow("remembering")
    def remembering() -> None:
        zeroth()
        stuck()
        broken()

    old, new = [await living(store, clock, name) for name in ("old", "new")]
    await remembering(old.container).run(run_id="r-1", wait=False)
    await entered.wait()
    await old.die()
    await new.take_over(remembering)
    run = await remembering(new.container).run(run_id="r-1", raise_on_error=False)

    assert run.status is RunStatus.FAILED
    assert [(error.step, error.phase) for error in run.errors] == [("break", "invoke"), ("stuck", "compensate")]
    assert run.compensated == ["zeroth"]


async def test_the_start_is_durable_before_the_first_step(store: Store, clock: ManualClock, journal: Journal) -> None:
    counting = CountingStore(store)
    shop = Process(counting, clock, "process-1")

    @step("look")
    async def look() -> int:
        journal.extend(type(write).__name__ for writes in counting.commits for write in writes)
        return 1

    @workflow("durable")
    def durable() -> Ref[int]:
        return look()

    await durable(shop.container).run()

    assert journal == [InsertRun.__name__, "PutGraph"]


async def test_what_was_running_beside_a_step_that_fails_after_the_crash_is_undone_untried(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    dead = asyncio.Event()

    @step("asks")
    async def asks() -> None:
        if not dead.is_set():
            await asyncio.Event().wait()
        raise ValueError

    beside, strict = journal.step("beside", refuses_none=False), journal.step("strict")

    @workflow("doubting")
    def doubting() -> None:
        parallelize(asks(), beside(), strict())

    mortal, heir = Mortal(store, clock, at=2, committed=False), await living(store, clock, "heir")
    await mortal.live(doubting(mortal.process.container).run(run_id="doubting-1", wait=False))
    await until(lambda: "strict" in journal)
    await mortal.process.die()
    dead.set()
    await heir.take_over(doubting)
    await until(lambda: not heir.engine.running)
    run = await heir.engine.get("doubting-1")

    assert journal == ["beside", "strict", "undo beside"]
    assert (run.status, run.compensated) == (RunStatus.FAILED, ["beside"])
    assert str(run.failure()).endswith("rolled back: beside; ROLLBACK INCOMPLETE: strict may have run.")


class ReadingStore(CountingStore):
    """A store that takes its time to tell of steps."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.asked, self.answers = asyncio.Event(), asyncio.Event()

    async def steps(self, keys: Sequence[str]) -> dict[str, list[StepRecord]]:
        self.asked.set()
        await self.answers.wait()
        return await self._store.steps(keys)


async def test_whoever_asks_for_a_run_while_it_is_read_is_answered_when_it_ends(
    store: Store, clock: ManualClock, journal: Journal
) -> None:
    flow, reading = _three_steps(journal, fails=False), ReadingStore(store)
    mortal, heir = Mortal(store, clock, at=2, committed=False), await living(reading, clock, "heir")
    await mortal.live(flow(mortal.process.container).run(run_id="read"))

    taking_over = asyncio.create_task(heir.take_over(flow))
    await reading.asked.wait()
    asking = asyncio.create_task(flow(heir.container).run(run_id="read"))
    await until(lambda: heir.engine._parking._waiters.get("read"), what="it waits for the end")
    reading.answers.set()
    await taking_over

    assert (await asking).status is RunStatus.COMPLETED
