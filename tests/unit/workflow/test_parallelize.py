"""Which steps may run at the same time, and what is moved out of their way."""

from collections.abc import Callable
from typing import Any

import pytest

from daemon import CompositionError, Ref, parallelize, step, transform, workflow
from daemon.workflow.graph import Graph
from daemon.workflow.nodes import ParallelNode
from tests.unit.workflow.attempts import Order, attempt_with, take

HERE = "tests/unit/workflow/test_parallelize.py"
first, second, third, fourth = (take.named(name) for name in ("first", "second", "third", "fourth"))


@step("nothing")
async def nothing() -> int:
    return 1


def shape(graph: Graph) -> list[str | list[str]]:
    """Return the names of a graph's nodes in their order, those of a group as a list."""
    return [
        [member.name for member in node.members] if isinstance(node, ParallelNode) else node.name
        for node in graph.nodes
    ]


def test_members_are_one_node_and_the_refs_come_back_in_the_order_given() -> None:
    kept: list[bool] = []

    @workflow("group")
    def group(order: Ref[Order]) -> None:
        a, b = first(order), second(order)
        back = parallelize(b, a)
        kept.extend([back[0] is b, back[1] is a])

    assert kept == [True, True]
    assert shape(group.graph) == [["second", "first"]]
    assert group.graph.nodes[0].name == "parallel-1"


def test_what_members_need_and_is_no_member_runs_before_the_group() -> None:
    @workflow("moved")
    def moved(order: Ref[Order]) -> None:
        before = first(order)
        a = second(order)
        lines = transform(before, order, lambda _, o: o.lines)
        b = third(lines)
        parallelize(a, b, name="both")
        fourth(a)

    assert shape(moved.graph) == ["first", "transform-1", ["second", "third"], "fourth"]


def test_a_step_between_members_that_needs_none_of_them_runs_before_the_group() -> None:
    @workflow("between")
    def between(order: Ref[Order]) -> None:
        a = first(order)
        second(order)
        parallelize(a, third(order))

    assert shape(between.graph) == ["second", ["first", "third"]]


def test_a_group_between_members_that_needs_none_of_them_runs_before_the_group() -> None:
    @workflow("groups")
    def groups(order: Ref[Order]) -> None:
        a = first(order)
        parallelize(second(order), nothing())
        parallelize(a, third(order))

    assert shape(groups.graph) == [["second", "nothing"], ["first", "third"]]


def test_a_group_of_one_is_a_group() -> None:
    @workflow("alone")
    def alone(order: Ref[Order]) -> Ref[Any]:
        (only,) = parallelize(first(order))
        return only

    assert shape(alone.graph) == [["first"]]


def group_twice(order: Any) -> None:
    a = first(order)
    parallelize(a, second(order))
    parallelize(a, third(order))


def group_of_dependent_steps(order: Any) -> None:
    parallelize(first(order), second(first.named("needed")(order)), third(order))
    a = fourth(order)
    parallelize(a, take(a.pick(lambda v: v.id)))


def needed_by_a_step(order: Any) -> None:
    a = first(order)
    second(a)
    parallelize(a, third(order))


def needed_by_a_transform(order: Any) -> None:
    a = first(order)
    parallelize(a, second(transform(a, len)))


def needed_by_a_group(order: Any) -> None:
    a = first(order)
    parallelize(second(a), third(order))
    parallelize(a, fourth(order))


RECORDED_BEFORE = "was recorded before parallelize(...) and needs one of its members; write it after the group."
NO_RESULT = "is no step's result; parallelize takes the results of steps, as they are."
REFUSALS: dict[str, tuple[Callable[[Any], object], str]] = {
    "nothing": (
        lambda _: parallelize(),
        "parallelize takes the results of the steps that run at the same time; it got none.",
    ),
    "a value": (
        lambda order: parallelize(first(order), 1),
        "parallelize takes results of steps, not int: parallelize(a_step(x), another_step(y)).",
    ),
    "a step": (
        lambda order: parallelize(first(order), second),
        "parallelize takes results of steps, not Step: parallelize(a_step(x), another_step(y)).",
    ),
    "a list": (
        lambda order: parallelize([first(order)]),
        "parallelize takes results of steps, not list: parallelize(*refs).",
    ),
    "a transform": (
        lambda order: parallelize(first(order), transform(order, len)),
        f"<ref to the result of 'transform-1'> {NO_RESULT}",
    ),
    "the input": (
        lambda order: parallelize(first(order), order),
        f"<ref to the workflow's input> {NO_RESULT}",
    ),
    "a part of a result": (
        lambda order: parallelize(first(order).pick(lambda v: v.id), second(order)),
        f"<ref to the output of step 'first'.id> {NO_RESULT}",
    ),
    "the same twice": (
        lambda order: parallelize(*[first(order)] * 2),
        "a step is given to parallelize twice.",
    ),
    "in two groups": (group_twice, "step 'first' is in another parallelize(...) already."),
    "dependent": (
        group_of_dependent_steps,
        "'take' needs the result of 'fourth', so they cannot run at the same time.",
    ),
    "needed by a step": (needed_by_a_step, f"'second' {RECORDED_BEFORE}"),
    "needed by a transform": (needed_by_a_transform, f"'transform-1' {RECORDED_BEFORE}"),
    "needed by a group": (needed_by_a_group, f"'parallel-1' {RECORDED_BEFORE}"),
}


@pytest.mark.parametrize(("attempt", "sentence"), REFUSALS.values(), ids=REFUSALS)
def test_what_cannot_run_at_the_same_time_is_refused(attempt: Callable[[Any], object], sentence: str) -> None:
    with pytest.raises(CompositionError) as refused:
        attempt_with(attempt)

    assert str(refused.value).startswith(f"{HERE}:")
    assert str(refused.value).endswith(f": {sentence}")


def test_a_group_may_not_have_the_name_of_a_step() -> None:
    with pytest.raises(
        CompositionError, match=r"The name 'first' is used twice .* parallelize\(\.\.\., name=\"\.\.\.\"\)"
    ):
        attempt_with(lambda order: parallelize(first(order), name="first"))
