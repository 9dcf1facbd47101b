"""What composing says of conditions that no run could follow."""

from collections.abc import Callable
from typing import Any

import pytest

from daemon import CompositionError, Ref, SourceWorkflow, parallelize, step, transform, when, workflow
from daemon.workflow.nodes import OtherwiseNode, WhenNode
from tests.unit.workflow.attempts import Order, take

HERE = "tests/unit/workflow/test_conditions.py"
first, second, third = (take.named(name) for name in ("first", "second", "third"))


def is_large(order: Order) -> bool:
    return len(order.lines) > 1


def bare_ref(order: Ref[Order]) -> None:
    with when(order, is_large):
        a = first(order)
    second(a)


def bare_ref_in_the_other_case(order: Ref[Order]) -> None:
    with when(order, is_large, name="is-large") as large:
        a = first(order)
    with large.otherwise():
        second(a)


def bare_ref_returned(order: Ref[Order]) -> Ref[Any]:
    with when(order, is_large):
        a = first(order)
    return a  # noqa: RET504 - the mistake


def part_of_a_bare_ref(order: Ref[Order]) -> None:
    with when(order, is_large):
        a = first(order)
    second(a.pick(lambda v: v.id))


def output_of_an_inner_block(order: Ref[Order]) -> None:
    with when(order, is_large) as outer, when(order, is_large):
        a = first(order)
    outer.output(a)


def output_of_a_ref_from_around(order: Ref[Order]) -> None:
    a = first(order)
    with when(order, is_large) as large:
        second(order)
    large.output(a)


def group_across_blocks(order: Ref[Order]) -> None:
    a = first(order)
    with when(order, is_large):
        parallelize(a, second(order))


def two_other_cases(order: Ref[Order]) -> None:
    with when(order, is_large) as large:
        first(order)
    with large.otherwise():
        second(order)
    with large.otherwise():
        third(order)


def other_case_inside(order: Ref[Order]) -> None:
    with when(order, is_large) as large, large.otherwise():
        first(order)


def entered_twice(order: Ref[Order]) -> None:
    large = when(order, is_large)
    with large:
        first(order)
    with large:
        second(order)


def not_entered(order: Ref[Order]) -> None:
    when(order, is_large)


async def is_slow(order: Order) -> bool:
    return True


WRONG: dict[str, tuple[Callable[[Ref[Order]], Any], str]] = {
    "a bare ref outside its block": (bare_ref, "<ref to the output of step 'first'> is made inside when(...) 'when-1'"),
    "a bare ref in the other case": (bare_ref_in_the_other_case, "is made inside when(...) 'is-large' at " + HERE),
    "a bare ref as the result": (bare_ref_returned, "write branch.output(ref), with the name after `as` for branch."),
    "a part of a bare ref": (part_of_a_bare_ref, "<ref to the output of step 'first'.id> is made inside"),
    "the output of an inner block": (output_of_an_inner_block, "is first that branch's output."),
    "the output of a ref from around": (output_of_a_ref_from_around, "is not made in <branch 'when-1' at"),
    "a group across blocks": (
        group_across_blocks,
        "What runs only sometimes can be a member as a workflow that has the condition: my_workflow.as_step(ref).",
    ),
    "two other cases": (two_other_cases, "has one other case; write another when(...)."),
    "the other case inside": (other_case_inside, "after its block, in the block around it."),
    "entered twice": (entered_twice, "is entered a second time; write another when(...)."),
    "not entered": (not_entered, "write `with when(...) as branch:`."),
    "no ref": (lambda _: when(1, bool), "when takes a ref and a predicate of its value, not int"),  # type: ignore[arg-type]
    "no predicate": (lambda order: when(order, True), "the predicate of when is a plain function"),  # type: ignore[arg-type]  # noqa: FBT003
    "an async predicate": (lambda order: when(order, is_slow), "when takes a pure function, not an async def;"),  # type: ignore[arg-type]
    "a name twice": (
        lambda order: [first(order), when(order, is_large, name="first")],
        'give one of them another name: when(..., name="...")',
    ),
}


@pytest.mark.parametrize(("compose", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_condition_that_no_run_could_follow_is_refused_with_its_place(
    compose: Callable[[Ref[Order]], Any], said: str
) -> None:
    with pytest.raises(CompositionError) as refused:

        @workflow("attempt")
        def _(order: Ref[Order]) -> Any:
            return compose(order)

    message = str(refused.value)
    assert said in message
    assert HERE in message


def test_a_condition_is_neither_true_nor_false() -> None:
    def composition(order: Ref[Order]) -> None:
        if when(order, is_large):  # type: ignore[truthy-bool]
            take(order)

    with pytest.raises(CompositionError, match=r"<branch 'when-1' at .*> is neither true nor false while composing;"):
        workflow("conditioned")(composition)


def test_a_condition_that_is_never_left_is_refused() -> None:
    def composition(order: Ref[Order]) -> None:
        when(order, is_large).__enter__()

    with pytest.raises(CompositionError, match=r"'when-1' at .* is entered and never left: write `with when"):
        workflow("entered")(composition)


def test_a_condition_outside_a_composition_is_refused() -> None:
    with pytest.raises(CompositionError, match=r"when was called outside a composition.*elsewhere, use if"):
        when(None, bool)  # type: ignore[arg-type]


def test_a_graph_has_the_blocks_and_what_is_inside() -> None:
    @workflow("blocks")
    def blocks(order: Ref[Order]) -> None:
        with when(order, is_large) as large:
            a = first(order)
            with when(a, bool):
                second(order)
        with large.otherwise() as small:
            b = third(order)
        transform(large.output(a), small.output(b), lambda a, b: a or b)

    condition, other, _ = blocks.graph.nodes
    assert isinstance(condition, WhenNode)
    assert isinstance(other, OtherwiseNode)
    assert [node.name for node in condition.nodes] == ["first", "when-2"]
    assert [node.name for node in blocks.graph.steps()] == ["first", "second", "third"]


def test_another_predicate_is_another_graph() -> None:
    def composed(predicate: Callable[[int], bool], name: str) -> SourceWorkflow[None]:
        @step("count")
        async def count() -> int:
            return 1

        @workflow(name)
        def flow() -> None:
            counted = count()
            with when(counted, predicate):
                count.named("again")()

        return flow

    one, other = composed(lambda v: v > 1, "conditional"), composed(lambda v: v > 2, "conditional-2")

    assert one.graph.json.replace(b"conditional", b"") != other.graph.json.replace(b"conditional-2", b"")
