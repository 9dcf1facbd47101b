"""Events that a composition emits."""

from collections.abc import Callable
from typing import Any

import pytest

from daemon import CompositionError, Event, Ref, emit, transform, workflow
from daemon.workflow.nodes import EmitNode
from tests.unit.workflow.attempts import Order

HERE = "tests/unit/workflow/test_emitting.py"


class OrderPlaced(Event, name="order.placed"):
    order_id: str


class OrderGone(Event, name="order.gone"):
    order_id: str


class Nameless(Event):
    order_id: str


def placed(order: Order) -> OrderPlaced:
    return OrderPlaced(order_id=order.id)


def placed_or_gone(order: Order) -> OrderPlaced | OrderGone:
    return OrderPlaced(order_id=order.id) if order.lines else OrderGone(order_id=order.id)


def order_id(order: Order) -> str:
    return order.id


def test_an_event_is_emitted_as_a_ref_or_as_it_is() -> None:
    @workflow("emits")
    def emits(order: Ref[Order]) -> None:
        emit(transform(order, placed))
        emit(transform(order, lambda o: OrderPlaced(order_id=o.id)), immediately=True)
        emit(transform(order, placed_or_gone))
        emit(OrderGone(order_id="1"), name="gone")

    emitted = [node for node in emits.graph.nodes if isinstance(node, EmitNode)]
    assert [node.name for node in emitted] == ["emit-1", "emit-2", "emit-3", "gone"]
    assert [node.immediately for node in emitted] == [False, True, False, False]
    assert emitted[3].operand.resolve([]) == OrderGone(order_id="1")
    assert emitted[1].describe() == {
        "kind": "emit",
        "name": "emit-2",
        "inputs": [{"from": "transform-2", "path": ""}],
        "immediately": True,
    }


WRONG: dict[str, tuple[Callable[[Ref[Order]], Any], str]] = {
    "a ref of something else": (
        emit,  # type: ignore[dict-item]
        "is declared as something else; make one of it: emit(transform(ref, lambda v: OrderPlaced(order_id=v.id))).",
    ),
    "a transform to something else": (
        lambda order: emit(transform(order, order_id)),  # type: ignore[arg-type]
        "<ref to the result of 'transform-1'> is declared as something else;",
    ),
    "a name": (
        lambda _: emit("order.placed"),  # type: ignore[arg-type]
        "emit takes an event or the ref of one, not 'order.placed': emit(OrderPlaced(order_id=...)).",
    ),
    "a class": (
        lambda _: emit(OrderGone),  # type: ignore[arg-type]
        "emit(OrderGone(...)).",
    ),
    "an event without a name": (
        lambda _: emit(Nameless(order_id="1")),
        "emit: Nameless has no event name: write class Nameless(Event, name='order.placed').",
    ),
    "an event with a ref inside": (
        lambda order: emit(OrderGone(order_id=order)),  # type: ignore[arg-type]
        "the field 'order_id' of a OrderGone was given <ref to the workflow's input>.",
    ),
    "no flag": (
        lambda _: emit(OrderGone(order_id="1"), immediately="soon"),  # type: ignore[arg-type]
        "immediately is True or False, not 'soon'.",
    ),
    "a name twice": (
        lambda _: [emit(OrderGone(order_id="1"), name="gone") for _ in range(2)],  # type: ignore[func-returns-value]
        'give one of them another name: emit(..., name="...").',
    ),
}


@pytest.mark.parametrize(("compose", "said"), WRONG.values(), ids=WRONG.keys())
def test_what_no_run_could_emit_is_refused_with_its_place(compose: Callable[[Ref[Order]], Any], said: str) -> None:
    with pytest.raises(CompositionError) as refused:

        @workflow("attempt")
        def _(order: Ref[Order]) -> None:
            compose(order)

    assert said in str(refused.value)
    assert HERE in str(refused.value)


def test_emitting_outside_a_composition_is_refused() -> None:
    with pytest.raises(CompositionError, match=r"in a step or a handler, write ctx\.emit\(event\)\.$"):
        emit(OrderGone(order_id="1"))
