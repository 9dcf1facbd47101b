"""Loops: one call of a step for each item of a list that only a run knows."""

import asyncio
from typing import Any

import pytest

from daemon import (
    PermanentFailure,
    Ref,
    Retry,
    RunStatus,
    Step,
    StepContext,
    StepResponse,
    for_each,
    parallelize,
    step,
    transform,
    when,
    workflow,
)
from daemon.workflow.workflow import Workflow
from tests.contract.engine.processes import Journal, Process


class Loop:
    """A step for items, what it did, and how many of it ran at the same time."""

    def __init__(self, *, fails_at: int | None = None, name: str = "pack", **options: Any) -> None:
        self.did = Journal()
        self.running = 0
        self.most = 0
        self.undoing = 0
        self.most_undoing = 0
        self.fails_at = fails_at
        options.setdefault("retry", Retry.never())

        @step(name, **options)
        async def pack(number: int, ctx: StepContext) -> str:
            self.running += 1
            self.most = max(self.most, self.running)
            for _ in range(10 - number % 10):  # the later an item, the sooner it is done
                await asyncio.sleep(0)
            self.running -= 1
            self.did.append(f"{ctx.step}:{number}")
            if number == self.fails_at:
                raise PermanentFailure("too heavy")
            return f"packed {number}"

        @pack.compensate
        async def unpack(packed: str) -> None:
            self.undoing += 1
            self.most_undoing = max(self.most_undoing, self.undoing)
            await asyncio.sleep(0)
            self.undoing -= 1
            self.did.append(f"un{packed}")

        self.step: Step[int, str, str] = pack


def _flow(loop: Loop, *, concurrency: int = 10) -> Workflow[list[int], list[str]]:
    @workflow("pack-all")
    def pack_all(numbers: Ref[list[int]]) -> Ref[list[str]]:
        return for_each(numbers, loop.step, concurrency=concurrency)

    return pack_all


async def test_results_come_in_the_order_of_the_items(shop: Process) -> None:
    loop = Loop()

    run = await _flow(loop)(shop.container).run([3, 1, 2])

    assert run.result == ["packed 3", "packed 1", "packed 2"]
    assert loop.did[0] == "pack[0]:3"
    assert list(run.steps) == ["pack[0]", "pack[1]", "pack[2]"]
    assert [(each.input, each.output) for each in run.steps.values()] == [
        (3, "packed 3"),
        (1, "packed 1"),
        (2, "packed 2"),
    ]


@pytest.mark.parametrize(("concurrency", "most"), [(1, 1), (3, 3), (50, 12)])
async def test_no_more_items_run_at_the_same_time_than_allowed(shop: Process, concurrency: int, most: int) -> None:
    loop = Loop()

    run = await _flow(loop, concurrency=concurrency)(shop.container).run(list(range(12)))

    assert loop.most == most
    assert run.result == [f"packed {number}" for number in range(12)]


async def test_an_empty_list_calls_nothing(shop: Process) -> None:
    run = await _flow(Loop())(shop.container).run([])

    assert run.result == []
    assert run.steps == {}


async def test_an_item_is_retried_by_itself(shop: Process) -> None:
    tried: list[tuple[int, int]] = []

    @step("fetch", retry=Retry(max_attempts=3))
    async def fetch(number: int, ctx: StepContext) -> int:
        tried.append((number, ctx.attempt))
        if number == 2 and ctx.attempt < 3:
            raise ValueError(number)
        return number * 10

    @workflow("fetch-all")
    def fetch_all(numbers: Ref[list[int]]) -> Ref[list[int]]:
        return for_each(numbers, fetch)

    run = await fetch_all(shop.container).run([1, 2, 3])

    assert run.result == [10, 20, 30]
    assert sorted(tried) == [(1, 1), (2, 1), (2, 2), (2, 3), (3, 1)]
    assert run.steps["fetch[1]"].attempts == 3


async def test_an_item_that_fails_undoes_the_others_at_the_same_time_and_starts_no_more(
    shop: Process, journal: Journal
) -> None:
    loop = Loop(fails_at=9)
    before = journal.step("before")

    @workflow("pack-some")
    def pack_some(numbers: Ref[list[int]]) -> None:
        before()
        for_each(numbers, loop.step, concurrency=4)

    run = await pack_some(shop.container).run([1, 2, 3, 9, 4, 5, 6, 7], raise_on_error=False)

    assert run.status is RunStatus.REVERTED
    assert [error.step for error in run.errors] == ["pack[3]"]
    done = [each.partition(":")[2] for each in loop.did if each.startswith("pack[") and not each.endswith(":9")]
    assert sorted(each for each in loop.did if each.startswith("un")) == sorted(f"unpacked {each}" for each in done)
    assert len(run.steps) < 8
    assert loop.most_undoing == len(done)
    assert run.compensated[-1] == "before"
    assert len(run.compensated) == len(done) + 1


async def test_loops_may_be_members_of_a_group(shop: Process, journal: Journal) -> None:
    left, right, alone = Loop(name="left"), Loop(name="right"), journal.step("alone")

    @workflow("both")
    def both(numbers: Ref[list[int]]) -> Any:
        a, b, c = parallelize(for_each(numbers, left.step), alone(), for_each(numbers, right.step, concurrency=1))
        return [a, b, c]

    run = await both(shop.container).run([1, 2])

    assert run.result == [["packed 1", "packed 2"], "alone-output", ["packed 1", "packed 2"]]
    assert right.most == 1


async def test_a_loop_in_a_group_is_undone_with_it(shop: Process, journal: Journal) -> None:
    loop, other, last = Loop(), journal.step("other"), journal.failing("last")

    @workflow("undone")
    def undone(numbers: Ref[list[int]]) -> None:
        parallelize(for_each(numbers, loop.step), other())
        last()

    run = await undone(shop.container).run([1, 2], raise_on_error=False)

    assert run.status is RunStatus.REVERTED
    assert sorted(run.compensated) == ["other", "pack[0]", "pack[1]"]


async def test_a_loop_may_stand_in_a_block_and_go_over_what_a_transform_made(shop: Process) -> None:
    loop = Loop()

    @workflow("maybe")
    def maybe(count: Ref[int]) -> Any:
        with when(count, lambda v: v > 1) as several:
            packed = for_each(transform(count, lambda v: list(range(v))), loop.step)
        return several.output(packed)

    assert (await maybe(shop.container).run(2)).result == ["packed 0", "packed 1"]
    assert (await maybe(shop.container).run(1)).result is None


async def test_the_output_of_a_skipped_item_is_none(shop: Process) -> None:
    @step("keep-odd")
    async def keep_odd(number: int) -> StepResponse[int, int]:
        return StepResponse(number) if number % 2 else StepResponse.skip()

    @step("show")
    async def show(numbers: list[int | None]) -> str:
        return str(numbers)

    @workflow("odd")
    def odd(numbers: Ref[list[int]]) -> Ref[str]:
        kept: Ref[Any] = for_each(numbers, keep_odd)
        return show(kept)

    assert (await odd(shop.container).run([1, 2, 3])).result == "[1, None, 3]"


async def test_what_is_no_list_fails_the_run_under_the_name_of_the_step(shop: Process) -> None:
    loop = Loop()

    @step("load")
    async def load() -> Any:
        return {"a": 1}

    @workflow("no-list")
    def no_list() -> None:
        for_each(load(), loop.step)

    run = await no_list(shop.container).run(raise_on_error=False)

    assert [(error.step, error.attempts[-1].message) for error in run.errors] == [
        ("pack", "for_each goes over a list, and got dict")
    ]
