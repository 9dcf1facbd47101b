"""A caller that is cancelled while its run is being started."""

import asyncio

import pytest

from daemon import Ref, step, workflow
from daemon.store.model import RunStatus
from daemon.workflow.port import RunOptions
from tests.contract.engine.processes import Process


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
async def test_a_run_whose_caller_is_cancelled_while_it_starts_goes_on(shop: Process, turns: int) -> None:
    done: list[int] = []

    @step("note")
    async def note(number: int) -> int:
        done.append(number)
        return number

    @workflow("noting")
    def noting(number: Ref[int]) -> Ref[int]:
        return note(number)

    starting = asyncio.create_task(shop.engine.execute(noting, 7, RunOptions(run_id="r-1")))
    await asyncio.sleep(0)
    for _ in range(turns):
        await asyncio.sleep(0)

    starting.cancel()
    await asyncio.wait([starting])
    run = await shop.engine.execute(noting, 7, RunOptions(run_id="r-1", wait=True))

    assert run.status is RunStatus.COMPLETED
    assert done == [7]
