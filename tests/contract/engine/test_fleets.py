"""Processes with different code: a run is driven by one that has what it needs, and held only if none does."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest

from daemon import RunStateError, RunStatus
from daemon.clock import ManualClock
from daemon.config import LogConfig
from daemon.engine.recovery import Recovery
from daemon.log import configure_logging, unconfigure_logging
from daemon.store.model import StepState
from daemon.store.port import Store
from daemon.store.writes import PutStep, UpdateRun
from tests.contract.engine.deploys import Fleet, begun, flow, in_order, plain
from tests.contract.engine.processes import CountingStore, Journal, Process

Logged = Callable[[str], list[dict[str, Any]]]
LACKS = "A-b"
HAS = "A-bc"


@pytest.fixture
def logged() -> Iterator[Logged]:
    """What was logged, by its event."""
    lines = StringIO()
    configure_logging(LogConfig(level="info"), lines, app="shop")
    yield lambda event: [line for line in map(json.loads, lines.getvalue().splitlines()) if line["event"] == event]
    unconfigure_logging()


async def test_a_run_goes_to_the_process_that_has_what_it_needs_and_is_never_held(
    fleet: Fleet,
    logged: Logged,
) -> None:
    old, new = Journal(), Journal()
    await begun(fleet, plain(Journal(), HAS))
    await fleet.up("new", plain(new, LACKS))
    await fleet.up("old", plain(old, HAS))

    await fleet.grace()
    assert await fleet.owner() == "old"
    assert (await fleet.run()).waiting_for.startswith("nap until")
    await fleet.wake()

    assert (await fleet.run()).status is RunStatus.COMPLETED
    assert (old, new) == (["b", "c"], [])
    assert logged("run_held") == []


async def test_a_run_is_held_when_the_last_process_that_has_what_it_needs_stops(
    fleet: Fleet,
    logged: Logged,
) -> None:
    old, new = Journal(), Journal()
    await begun(fleet, plain(Journal(), HAS))
    await fleet.up("new", plain(new, LACKS))
    await fleet.up("old", plain(old, HAS))
    await fleet.grace()

    await fleet.down("old")
    await fleet.grace()

    assert (await fleet.run()).waiting_for == "held: step 'c' is missing"
    assert [(line["run_id"], line["workflow"], line["reason"]) for line in logged("run_held")] == [
        ("run-1", "deployed", "step 'c' is missing")
    ]
    await fleet.up("old-again", plain(old, HAS))
    await fleet.look()
    assert await fleet.owner() == "old-again"
    await fleet.wake()
    assert (await fleet.run()).status is RunStatus.COMPLETED


async def test_processes_that_cannot_drive_a_run_do_not_pass_it_on_for_ever(
    fleet: Fleet,
    store: Store,
    clock: ManualClock,
) -> None:
    await begun(fleet, plain(Journal(), HAS))
    counting = CountingStore(store)
    other = Fleet(counting, clock)
    await other.up("new-1", plain(Journal(), LACKS))
    await other.up("new-2", plain(Journal(), "A-c"))
    await other.grace()
    written = len(counting.commits)
    assert (await fleet.run()).waiting_for in {"held: step 'b' is missing", "held: step 'c' is missing"}

    for _ in range(5):
        await other.grace()

    assert len(counting.commits) == written <= 4


async def test_a_process_tries_again_what_another_has_driven_on(fleet: Fleet) -> None:
    old, new = Journal(), Journal()
    await begun(fleet, plain(Journal(), "A-b-c"))
    await fleet.up("new", plain(new, "A-c"))
    await fleet.up("old", plain(old, "A-b-c"))
    await fleet.grace()
    assert await fleet.owner() == "old"
    await fleet.wake()
    assert old == ["b"]

    await fleet.down("old")
    await fleet.look()

    assert await fleet.owner() == "new"


async def test_a_daemon_holds_what_nobody_takes_and_tells_of_workflows_that_it_does_not_know(
    fleet: Fleet, store: Store, clock: ManualClock, logged: Logged
) -> None:
    await begun(fleet, plain(Journal(), HAS))
    await begun(fleet, plain(Journal(), HAS, name="gone"), run_id="run-2")
    new = await fleet.up("new", plain(Journal(), LACKS))
    recovery = Recovery(new.engine, store, clock, app="shop", owner="new", claims=True)
    await recovery.start()
    give_up_s = time.monotonic() + 10
    while not logged("run_held") and time.monotonic() < give_up_s:
        clock.advance(timedelta(seconds=2))
        await asyncio.sleep(0.002)
    await recovery.retire()

    assert (await fleet.run()).waiting_for == "held: step 'c' is missing"
    assert (await fleet.run("run-2")).waiting_for.startswith("nap until")
    assert [(line["runs"], line["workflows"]) for line in logged("workflows_unknown")] == [(1, {"gone": 1})]
    assert logged("run_resumed") == []
    assert len(logged("run_held")) == 1


async def test_a_process_that_is_late_takes_a_run_that_is_held_already(fleet: Fleet) -> None:
    await begun(fleet, plain(Journal(), HAS))
    await fleet.up("new", plain(Journal(), LACKS))
    await fleet.grace()
    await fleet.up("old", plain(Journal(), HAS))

    await fleet.look()

    assert await fleet.owner() == "old"
    assert (await fleet.run()).waiting_for.startswith("nap until")


async def test_whoever_waits_for_a_run_that_its_process_lets_go_of_hears_so(fleet: Fleet) -> None:
    await begun(fleet, plain(Journal(), HAS))
    new = await fleet.up("new", plain(Journal(), LACKS))
    await fleet.grace()

    joined = await plain(Journal(), LACKS)(new.container).run(run_id="run-1")

    assert (joined.status, joined.waiting_for) == (RunStatus.WAITING, "held: step 'c' is missing")


@pytest.mark.parametrize("has", [True, False])
async def test_a_held_run_that_is_cancelled_is_undone_if_it_can_be(fleet: Fleet, *, has: bool) -> None:
    after = Journal()
    await begun(fleet, plain(Journal(), "ABC-d"))
    new = await fleet.up("new", plain(after, "ABC-" if has else "AC-"))
    await fleet.grace()
    assert (await fleet.run()).status is RunStatus.WAITING

    await new.engine.cancel("run-1")
    await fleet.grace()

    run = await fleet.run()
    if has:
        assert (run.status, after) == (RunStatus.CANCELLED, ["undo c", "undo b", "undo a"])
        return
    assert (run.status, after) == (RunStatus.WAITING, [])
    assert run.waiting_for == "held: it is to be cancelled, and cannot be undone; step 'b' is missing"
    await fleet.up("back", plain(after, "ABC-"))
    await fleet.look()
    assert (await fleet.run()).status is RunStatus.CANCELLED


async def test_a_cancelled_run_whose_next_step_may_have_run_and_cannot_be_undone_stays_held(
    fleet: Fleet,
    clock: ManualClock,
) -> None:
    await begun(fleet, plain(Journal(), "A-B"))
    after = Journal()
    await fleet.up("old", plain(after, "A-B"))
    await fleet.look()
    looker = Process(fleet.store, clock, "looker")
    record = (await looker.engine.get("run-1")).record
    assert record.owner == "old"
    await _die_in_the_step(fleet, clock)
    new = await fleet.up("new", plain(after, "A-"))
    await fleet.grace()
    assert (await fleet.run()).waiting_for == "held: step 'b' is missing"

    await new.engine.cancel("run-1")
    await fleet.grace()

    assert (await fleet.run()).waiting_for == "held: it is to be cancelled, and cannot be undone; step 'b' is missing"


async def _die_in_the_step(fleet: Fleet, clock: ManualClock) -> None:
    """Have the process that owns the run write that it runs again, and die before the step has its outcome."""
    record = await fleet.store.run("shop", "run-1")
    assert record is not None
    steps = (await fleet.store.steps([record.key]))[record.key]
    nap = next(step for step in steps if step.name == "nap")
    nap.become(StepState.COMPLETED)
    record.become(RunStatus.RUNNING)
    record.wake_us, record.waiting_for = None, ""
    await fleet.store.commit(UpdateRun(record), PutStep(nap))
    await fleet.down("old")


async def test_a_rollback_that_nobody_can_go_on_with_stays_one(fleet: Fleet) -> None:
    before, after = Journal(), Journal()

    def application(journal: Journal, *, breaks: bool, has: bool) -> Any:
        a = journal.step("a", undo_fails=OSError("busy") if breaks else None)
        return flow(in_order([a, journal.failing("b")] if has else [journal.step("c")]))

    process = await fleet.up("old", application(before, breaks=True, has=True))
    await application(before, breaks=True, has=True)(process.container).run(run_id="run-1", raise_on_error=False)
    await fleet.down("old")
    new = await fleet.up("new", application(after, breaks=False, has=False))
    with pytest.raises(RunStateError):
        await new.engine.cancel("run-1")
    await new.engine.retry("run-1")
    await fleet.grace()

    held = await fleet.run()
    assert (held.status, held.waiting_for) == (RunStatus.COMPENSATING, "held: step 'a' is missing")
    await fleet.up("back", application(after, breaks=False, has=True))
    await fleet.look()
    assert ((await fleet.run()).status, after) == (RunStatus.REVERTED, ["undo a"])


async def test_a_queued_run_stays_in_its_queue_and_takes_no_place(fleet: Fleet) -> None:
    before, after = Journal(), Journal()
    old = plain(before, "a-b", max_concurrency=1)
    process = await fleet.up("old", old)
    await old(process.container).run(run_id="run-1")
    await old(process.container).run(run_id="run-2", wait=False)
    await fleet.down("old")
    new = plain(after, "a-", max_concurrency=1)
    process = await fleet.up("new", new)
    await fleet.grace()
    first, second = await fleet.run("run-1"), await fleet.run("run-2")
    assert (first.waiting_for, second.waiting_for) == ("held: step 'b' is missing", "a free place")

    await process.engine.cancel("run-1")
    await fleet.grace()
    await new(process.container).run(run_id="run-3")

    assert (await fleet.run("run-1")).status is RunStatus.CANCELLED
    assert (await fleet.run("run-3")).waiting_for.startswith("nap until")
    assert (await fleet.run("run-2")).waiting_for == "a free place"
    fleet.clock.advance(timedelta(hours=1))
    await fleet.settle()
    assert (await fleet.run("run-3")).status is RunStatus.COMPLETED
    await fleet.up("back", plain(after, "a-b", max_concurrency=1))
    await fleet.look()
    await fleet.waits_for("nap until", "run-2")
