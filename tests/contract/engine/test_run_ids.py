"""One run id is one run: joining, repeating, refusing, and what waits for what."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from daemon import PermanentFailure, Ref, Retry, RunExists, RunNotFound, RunStatus, step, workflow
from daemon.clock import ManualClock
from daemon.workflow.naming import names_apart
from daemon.workflow.workflow import Workflow
from tests.contract.engine.gate import Gate
from tests.contract.engine.processes import Journal, Process


def _sets(journal: Journal) -> Workflow[set[str], int]:
    @step("count")
    async def count(items: set[str]) -> int:
        journal.append("count")
        return len(items)

    @workflow("counting")
    def counting(items: Ref[set[str]]) -> Ref[int]:
        return count(items)

    return counting


async def test_a_completed_run_is_not_repeated(shop: Process, journal: Journal) -> None:
    counting = _sets(journal)

    first = await counting(shop.container).run({"a", "b"}, run_id="count-1")
    second = await counting(shop.container).run({"b", "a"}, run_id="count-1")

    assert journal == ["count"]
    assert (second.result, second.attempt, second.status) == (2, 1, RunStatus.COMPLETED)
    assert second.to_json() == first.to_json()


async def test_a_run_that_is_going_on_is_joined(shop: Process, journal: Journal, gate: Gate) -> None:
    first = asyncio.create_task(gate.workflow(shop.container).run(run_id="gate-1"))
    await gate.entered.wait()
    second = asyncio.create_task(gate.workflow(shop.container).run(run_id="gate-1"))
    await asyncio.sleep(0)
    gate.open.set()

    assert ((await first).result, (await second).result) == ("through", "through")
    assert journal == ["gate"]


async def test_two_starts_at_the_same_time_are_one_run(shop: Process, journal: Journal, gate: Gate) -> None:
    gate.open.set()

    runs = await asyncio.gather(*[gate.workflow(shop.container).run(run_id="gate-1") for _ in range(5)])

    assert [run.result for run in runs] == ["through"] * 5
    assert journal == ["gate"]
    assert len((await shop.engine.list()).items) == 1


async def test_two_processes_that_start_at_the_same_time_start_one_run(
    shop: Process, clock: ManualClock, journal: Journal, gate: Gate
) -> None:
    other = Process(shop.store, clock, "process-2")
    await other.announce()
    gate.open.set()

    both = asyncio.gather(*[gate.workflow(each.container).run(run_id="gate-1") for each in (shop, other)])
    while not both.done():
        await asyncio.sleep(0.001)
        clock.advance(timedelta(seconds=1))  # the one that joins looks now and then

    assert [run.result for run in await both] == ["through", "through"]
    assert journal == ["gate"]


@pytest.mark.parametrize("gives_up", [False, True])
async def test_a_run_that_was_rolled_back_is_run_afresh(shop: Process, journal: Journal, *, gives_up: bool) -> None:
    attempts: list[str] = []

    @step("flaky")
    async def flaky() -> str:
        attempts.append("flaky")
        if len(attempts) == 1:
            raise PermanentFailure("not yet")
        return "now"

    first = journal.step("first", undo_fails=OSError() if gives_up else None)

    @workflow("afresh")
    def afresh() -> Ref[str]:
        first()
        return flaky()

    before = await afresh(shop.container).run(run_id="afresh-1", raise_on_error=False)
    after = await afresh(shop.container).run(run_id="afresh-1")

    assert (before.status, before.attempt) == (RunStatus.FAILED if gives_up else RunStatus.REVERTED, 1)
    assert (after.result, after.attempt) == ("now", 2)
    assert journal == ["first", "undo first", "first"]
    assert [(run.attempt, run.status) for run in (await shop.engine.list()).items] == [
        (2, RunStatus.COMPLETED),
        (1, before.status),
    ]


async def test_an_id_belongs_to_one_workflow_and_one_input(shop: Process, journal: Journal, gate: Gate) -> None:
    counting = _sets(journal)
    gate.open.set()
    await counting(shop.container).run({"a"}, run_id="taken")

    with pytest.raises(RunExists, match="another input"):
        await counting(shop.container).run({"b"}, run_id="taken")
    with pytest.raises(RunExists, match="belongs to workflow 'counting'"):
        await gate.workflow(shop.container).run(run_id="taken")


async def test_an_input_that_is_stored_as_another_type_is_another_input(shop: Process) -> None:
    with names_apart():

        @workflow("keeping")
        def keeping(text: Ref[str]) -> None:
            """Keep nothing."""

    with names_apart():

        @workflow("keeping")
        def keeping_later(number: Ref[int]) -> None:
            """Keep nothing."""

    await keeping(shop.container).run("a", run_id="taken")

    with pytest.raises(RunExists, match="another input"):
        await keeping_later(shop.container).run(1, run_id="taken")


async def test_a_run_that_exists_can_be_rejected(shop: Process, journal: Journal, gate: Gate) -> None:
    first = asyncio.create_task(gate.workflow(shop.container).run(run_id="gate-1"))
    await gate.entered.wait()

    with pytest.raises(RunExists, match="is running"):
        await gate.workflow(shop.container).run(run_id="gate-1", on_existing="reject")
    gate.open.set()
    await first
    with pytest.raises(RunExists, match="is completed"):
        await gate.workflow(shop.container).run(run_id="gate-1", on_existing="reject")


@pytest.mark.parametrize("run_id", ["", "x" * 201, "with space", "slash/", "ümlaut", "new\nline", "end\n"])
async def test_a_run_id_that_is_none_is_refused(shop: Process, gate: Gate, run_id: str) -> None:
    with pytest.raises(ValueError, match="A run id is 1 to 200"):
        await gate.workflow(shop.container).run(run_id=run_id)


@pytest.mark.parametrize("run_id", ["a", "x" * 200, "A-z_0.9:@"])
async def test_what_a_run_id_may_be(shop: Process, gate: Gate, run_id: str) -> None:
    gate.open.set()

    run = await gate.workflow(shop.container).run(run_id=run_id)

    assert run.run_id == run_id
    assert (await shop.engine.get(run_id)).result == "through"


async def test_a_run_without_an_id_gets_one(shop: Process, gate: Gate) -> None:
    gate.open.set()

    runs = [await gate.workflow(shop.container).run() for _ in range(3)]
    page = await shop.engine.list(limit=2)
    rest = await shop.engine.list(limit=2, after=page.next)

    assert len({run.run_id for run in runs}) == 3
    assert [run.run_id for run in (*page.items, *rest.items)] == [run.run_id for run in reversed(runs)]
    assert rest.next is None


async def test_a_wait_that_is_neither_is_refused(shop: Process, gate: Gate) -> None:
    wait: Any = "no"

    with pytest.raises(ValueError, match="wait is True, False, or left out, not 'no'"):
        await gate.workflow(shop.container).run(wait=wait)


async def test_runs_since_a_time_without_a_zone_are_refused(shop: Process) -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001 - that is the case

    with pytest.raises(ValueError, match="since is an aware datetime, not 2026-01-01 00:00:00; add tzinfo=UTC"):
        await shop.engine.list(since=naive)


async def test_a_run_that_nobody_knows_is_not_found(shop: Process) -> None:
    with pytest.raises(RunNotFound, match="'nobody'"):
        await shop.engine.get("nobody")


async def test_without_a_container_a_run_is_awaited_to_its_end(journal: Journal) -> None:
    flaky = journal.step("flaky", fails=OSError(), retry=Retry(max_attempts=3, delay=timedelta(milliseconds=1)))

    @workflow("alone")
    def alone() -> None:
        flaky()

    run = await alone().run(wait=False, raise_on_error=False)

    assert run.status is RunStatus.REVERTED
    assert journal == ["flaky"] * 3


async def test_steps_without_a_container_may_start_workflows(journal: Journal) -> None:
    first = journal.step("first")

    @workflow("inner")
    def inner() -> Ref[str]:
        return first()

    @step("outer-step")
    async def outer_step(_: int, ctx: Any) -> str:
        return (await inner(ctx.container).run()).result

    @workflow("outer")
    def outer(value: Ref[int]) -> Ref[str]:
        return outer_step(value)

    assert (await outer().run(1)).result == "first-output"
