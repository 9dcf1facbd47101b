"""What composing says of loops that no run could go through."""

from collections.abc import Callable
from typing import Any

import pytest

from daemon import CompositionError, Ref, for_each, parallelize, step, transform, workflow
from daemon.workflow.nodes import LoopNode, ParallelNode
from tests.unit.workflow.attempts import Order, attempt_with, take

HERE = "tests/unit/workflow/test_loops.py"


@step("nothing")
async def nothing() -> int:
    return 1


def maybe(order: Order) -> list[str] | None:
    return [order.id]


def over_what_may_be_none(order: Ref[Order]) -> None:
    for_each(transform(order, maybe), take)  # type: ignore[arg-type]


def in_one_group(order: Ref[Order]) -> None:
    a = for_each(order.pick(lambda o: o.lines), take)
    parallelize(a, take.named("again")(a))


WRONG: dict[str, tuple[Callable[[Any], object], str]] = {
    "no ref": (lambda _: for_each([1], take), "for_each takes the ref of a list, not list;"),  # type: ignore[arg-type]
    "a model": (lambda order: for_each(order, take), "is no list but a value of Order;"),
    "a text": (lambda order: for_each(order.pick(lambda o: o.id), take), "is no list but a value of str;"),
    "what may be none": (over_what_may_be_none, "may be None; write transform("),
    "no step": (
        lambda order: for_each(order.pick(lambda o: o.lines), len),  # type: ignore[arg-type]
        "takes a step, uncalled, not builtin_function_or_method:",
    ),
    "a step without an input": (
        lambda order: for_each(order.pick(lambda o: o.lines), nothing),  # type: ignore[arg-type]
        "for_each gives every item to step 'nothing', which takes no input.",
    ),
    "nothing at once": (
        lambda order: for_each(order.pick(lambda o: o.lines), take, concurrency=0),
        "concurrency is a number of items, 1 or more, not 0.",
    ),
    "a name twice": (
        lambda order: [take(order), for_each(order.pick(lambda o: o.lines), take)],
        'use .named("...") for a second use: my_step.named("take-again")',
    ),
    "what one needs of the other": (in_one_group, "'again' needs the result of 'take', so they cannot run"),
}


@pytest.mark.parametrize(("compose", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_loop_that_no_run_could_go_through_is_refused_with_its_place(
    compose: Callable[[Any], object], said: str
) -> None:
    with pytest.raises(CompositionError) as refused:
        attempt_with(compose)

    assert said in str(refused.value)
    assert HERE in str(refused.value)


def test_a_loop_outside_a_composition_is_refused() -> None:
    with pytest.raises(CompositionError, match=r"for_each was called outside a composition.*elsewhere, use for"):
        for_each([], take)  # type: ignore[arg-type]


def test_a_loop_is_a_node_with_the_name_of_its_step_and_may_be_in_a_group() -> None:
    @workflow("loops")
    def loops(order: Ref[Order]) -> None:
        lines = order.pick(lambda o: o.lines)
        a = for_each(lines, take)
        parallelize(for_each(transform(lines, a, lambda v, _: v), take.named("again"), concurrency=3), nothing())

    loop, _, group = loops.graph.nodes
    assert isinstance(loop, LoopNode)
    assert isinstance(group, ParallelNode)
    assert [node.name for node in loops.graph.steps()] == ["take", "again", "nothing"]
    assert loop.describe()["kind"] == "for_each"
    assert group.members[0].describe()["concurrency"] == 3
