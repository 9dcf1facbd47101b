"""What a run leaves behind in this process."""

import gc

from daemon import Ref, step, workflow
from daemon.engine.execution import Execution
from tests.contract.engine.processes import Journal, Process


async def test_a_run_that_has_ended_is_no_work_for_the_garbage_collector(shop: Process, journal: Journal) -> None:
    @step("double")
    async def double(value: list[int]) -> list[int]:
        return [*value, *value]

    @workflow("doubling")
    def doubling(value: Ref[list[int]]) -> Ref[list[int]]:
        journal.step("first")()
        return double(value)

    @workflow("failing-doubling")
    def failing(value: Ref[list[int]]) -> None:
        journal.step("first")()
        double(value)
        journal.failing()()

    gc.collect()
    gc.disable()
    try:
        await doubling(shop.container).run([1])
        await failing(shop.container).run([1], raise_on_error=False)
        left = [each for each in gc.get_objects() if isinstance(each, Execution)]
    finally:
        gc.enable()

    assert left == []
