"""Who starts a run and does not wait for it, or does so no more."""

import asyncio
from typing import Any

import pytest

from daemon import RunStatus, WorkflowRun, step, workflow
from tests.contract.engine.gate import Gate
from tests.contract.engine.processes import Journal, Process, until


async def test_without_waiting_a_run_is_returned_once_its_start_is_durable(
    shop: Process, journal: Journal, gate: Gate
) -> None:
    run = await gate.workflow(shop.container).run(run_id="gate-1", wait=False)
    stored = await shop.store.run("shop", "gate-1")
    gate.open.set()
    ended = await gate.workflow(shop.container).run(run_id="gate-1", wait=True)

    assert stored is not None
    assert (run.status, run.steps) == (RunStatus.RUNNING, {})
    assert ended.result == "through"


async def test_whoever_joins_a_failed_run_is_answered_as_whoever_started(shop: Process, journal: Journal) -> None:
    go_on = asyncio.Event()

    @step("break")
    async def broken() -> None:
        journal.append("break")
        await go_on.wait()
        raise ValueError

    @workflow("joined")
    def joined() -> None:
        broken()

    both = [asyncio.create_task(joined(shop.container).run(run_id="j-1", raise_on_error=False)) for _ in range(2)]
    await until(lambda: journal)
    go_on.set()
    runs: list[WorkflowRun[Any]] = [await each for each in both]

    assert [run.status for run in runs] == [RunStatus.REVERTED] * 2
    assert journal == ["break"]


async def test_a_caller_that_is_cancelled_does_not_take_the_run_with_it(
    shop: Process, journal: Journal, gate: Gate
) -> None:
    caller = asyncio.create_task(gate.workflow(shop.container).run(run_id="gate-1"))
    await gate.entered.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    gate.open.set()
    run = await gate.workflow(shop.container).run(run_id="gate-1")

    assert run.result == "through"
    assert journal == ["gate"]


async def test_a_caller_that_is_cancelled_while_its_run_starts_does_not_lose_it(
    shop: Process, journal: Journal, gate: Gate
) -> None:
    gate.open.set()
    caller = asyncio.create_task(gate.workflow(shop.container).run(run_id="gate-1"))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait([caller])

    run = await gate.workflow(shop.container).run(run_id="gate-1")

    assert run.result == "through"
    assert journal == ["gate"]
