"""Workflows as steps of others, as they are composed."""

from collections.abc import Callable
from typing import Any

import pytest

from daemon import CompositionError, DefinitionError, Ref, for_each, parallelize, step, transform, when, workflow
from daemon.workflow.nodes import ChildNode, ParallelNode
from tests.unit.workflow.attempts import Line, Order, take

HERE = "tests/unit/workflow/test_children.py"


@step("weigh")
async def weigh(line: Line) -> int:
    return len(line.sku)


@step("count")
async def count() -> int:
    return 1


@workflow("child-pack")
def pack(order: Ref[Order]) -> Ref[list[int]]:
    return for_each(order.pick(lambda o: o.lines), weigh)


@workflow("child-count")
def counting() -> Ref[int]:
    return count()


@workflow("child-quiet")
def quiet(order: Ref[Order]) -> None:
    take(order)


@workflow("child-structured")
def structured() -> dict[str, Ref[int]]:
    return {"count": count()}


def test_a_child_is_a_node_with_the_name_of_its_workflow_and_a_result_of_its_type() -> None:
    @workflow("parent")
    def parent(order: Ref[Order]) -> Ref[list[int]]:
        packed = pack.as_step(order)
        counting.as_step()
        quiet.as_step(order)
        quiet.as_step(Order(id="1", lines=[]), name="quiet-again")
        structured.as_step()
        with when(packed, bool):
            counting.as_step(name="inside")
        return packed

    children = list(parent.graph.children())
    assert [(child.name, child.workflow) for child in children] == [
        ("child-pack", pack),
        ("child-count", counting),
        ("child-quiet", quiet),
        ("quiet-again", quiet),
        ("child-structured", structured),
        ("inside", counting),
    ]
    assert [child.argument is None for child in children] == [False, True, False, False, True, True]
    assert parent.graph.result_codec.type == list[int]
    assert [pack.graph.result_type, quiet.graph.result_type, structured.graph.result_type] == [list[int], None, Any]
    assert list(parent.graph.steps()) == []
    assert parent.graph.by_name["quiet-again"] is children[3]
    assert children[0].describe() == {
        "kind": "child",
        "name": "child-pack",
        "inputs": [{"from": "", "path": ""}],
        "workflow": "child-pack",
        "graph": pack.graph.shape,
    }


def test_a_child_may_be_in_a_group() -> None:
    @workflow("parallel-parent")
    def parent(order: Ref[Order]) -> Ref[int]:
        packed, counted, _ = parallelize(pack.as_step(order), counting.as_step(), take(order))
        return transform(packed, counted, lambda p, c: sum(p) + c)

    group = parent.graph.nodes[0]
    assert isinstance(group, ParallelNode)
    assert [type(member).__name__ for member in group.members] == ["ChildNode", "ChildNode", "StepNode"]
    assert all(isinstance(member, ChildNode) for member in group.members[:2])


def test_another_graph_of_a_child_is_another_graph_of_its_parent() -> None:
    def composed(again: str, name: str) -> bytes:
        @workflow(f"{name}-child")
        def child() -> None:
            count.named(again)()

        @workflow(name)
        def parent() -> None:
            child.as_step()

        return parent.graph.json.replace(name.encode(), b"")

    assert composed("one", "renewed") != composed("two", "renewed-2")


def test_other_code_of_a_child_is_another_graph_of_its_parent_and_no_other_definition() -> None:
    def composed(fn: Callable[[int], int]) -> Any:
        @workflow("recoded-child")
        def child() -> Ref[int]:
            return transform(count(), fn)

        @workflow("recoded")
        def parent() -> Ref[int]:
            return child.as_step()

        return parent

    one, two = (composed(fn) for fn in (lambda v: v + 1, lambda v: v + 2))

    assert one.graph.hash != two.graph.hash
    assert one.graph.describe() == two.graph.describe()


def group_with_what_it_needs(order: Ref[Order]) -> None:
    packed = pack.as_step(order)
    parallelize(packed, take(packed))


WRONG: dict[str, tuple[Callable[[Ref[Order]], Any], str]] = {
    "a name twice": (
        lambda order: [pack.as_step(order), pack.as_step(order)],
        'give one of them another name: my_workflow.as_step(..., name="child-pack-again").',
    ),
    "another value": (lambda _: pack.as_step(1), "the input of workflow 'child-pack' "),  # type: ignore[arg-type]
    "a ref inside a value": (
        lambda order: quiet.as_step({"id": order}),  # type: ignore[arg-type]
        "the input of workflow 'child-quiet' has <ref to the workflow's input> inside a plain value.",
    ),
    "a workflow called": (
        pack,  # type: ignore[dict-item]
        "workflow 'child-pack' is called inside a composition, where nothing runs yet; to make it a step, write my_",
    ),
    "a workflow without an input called": (lambda _: counting(), "write my_workflow.as_step(...)."),
    "in a group with what it needs": (group_with_what_it_needs, "'take' needs the result of 'child-pack'"),
}


@pytest.mark.parametrize(("compose", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_child_that_no_run_could_have_is_refused_with_its_place(
    compose: Callable[[Ref[Order]], Any], said: str
) -> None:
    with pytest.raises(CompositionError) as refused:

        @workflow("attempt")
        def _(order: Ref[Order]) -> None:
            compose(order)

    assert said in str(refused.value)
    assert HERE in str(refused.value)


def test_the_name_of_a_child_is_one_of_a_step() -> None:
    with pytest.raises(DefinitionError, match=r"'Pack It' is no name for a step: .*, like 'pack-it'"):

        @workflow("attempt")
        def _(order: Ref[Order]) -> None:
            pack.as_step(order, name="Pack It")


def test_a_child_outside_a_composition_is_refused() -> None:
    with pytest.raises(CompositionError) as with_input:
        pack.as_step(Order(id="1", lines=[]))
    with pytest.raises(CompositionError) as without:
        counting.as_step()

    assert str(with_input.value).startswith(f"{HERE}:")
    assert "as_step of workflow 'child-pack' was called outside a composition." in str(with_input.value)
    assert str(with_input.value).endswith("elsewhere, run it: await the_workflow(container).run(value).")
    assert str(without.value).endswith("elsewhere, run it: await the_workflow(container).run().")
