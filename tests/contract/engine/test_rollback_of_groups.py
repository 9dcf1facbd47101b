"""A failure beside other members of its group: they end first, and are undone together."""

import asyncio
from typing import Any

from daemon import (
    Retry,
    parallelize,
    step,
    workflow,
)
from tests.contract.engine.processes import Journal, Process


async def test_members_of_a_group_are_undone_at_the_same_time_and_before_what_came_earlier(
    shop: Process, journal: Journal
) -> None:
    both = asyncio.Barrier(2)

    def member(name: str) -> Any:
        @step(name)
        async def act() -> str:
            return name

        @act.compensate
        async def undo(_: str) -> None:
            await both.wait()
            journal.append(f"undo {name}")

        return act

    left, right, before, after, broken = (
        member("left"), member("right"), journal.step("before"), journal.step("after"), journal.failing()
    )  # fmt: skip

    @workflow("side-by-side")
    def side_by_side() -> None:
        before()
        parallelize(left(), right())
        after()
        broken()

    run = await side_by_side(shop.container).run(raise_on_error=False)

    assert journal[:4] == ["before", "after", "break", "undo after"]
    assert sorted(journal[4:6]) == ["undo left", "undo right"]
    assert journal[6:] == ["undo before"]
    assert set(run.compensated) == {"after", "left", "right", "before"}
    assert (run.compensated[0], run.compensated[-1]) == ("after", "before")


async def test_what_runs_beside_a_step_that_fails_is_awaited_and_then_undone(shop: Process, journal: Journal) -> None:
    broke = asyncio.Event()

    @step("slow")
    async def slow() -> str:
        await broke.wait()
        for _ in range(5):
            await asyncio.sleep(0)
        journal.append("slow is done")
        return "slow-output"

    @slow.compensate
    async def undo_slow(data: str) -> None:
        journal.append(f"undo {data}")

    @step("break")
    async def broken() -> str:
        broke.set()
        raise ValueError

    never = journal.step("never")

    @workflow("awaiting")
    def awaiting() -> None:
        parallelize(slow(), broken())
        never()

    run = await awaiting(shop.container).run(raise_on_error=False)

    assert journal == ["slow is done", "undo slow-output"]
    assert [error.step for error in run.errors] == ["break"]


async def test_a_step_beside_one_that_fails_is_not_tried_again(shop: Process, journal: Journal) -> None:
    broke = asyncio.Event()

    @step("again", retry=Retry(max_attempts=5))
    async def again() -> str:
        journal.append("again")
        await broke.wait()
        raise ValueError

    @step("break")
    async def broken() -> str:
        broke.set()
        raise ValueError

    @workflow("no-more")
    def no_more() -> None:
        parallelize(again(), broken())

    run = await no_more(shop.container).run(raise_on_error=False)

    assert journal == ["again"]
    assert sorted(error.step for error in run.errors) == ["again", "break"]
