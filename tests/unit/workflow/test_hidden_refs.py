"""Refs that are put where no run could resolve them are found while composing."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from daemon import CompositionError, workflow
from tests.unit.workflow.attempts import Line, Order, attempt_with, take


@dataclass
class Parcel:
    content: Any


class Box(BaseModel):
    content: Any = None
    extra: dict[str, Any] = {}
    _private: Any = None

    def _with(self, value: Any) -> "Box":
        self._private = value
        return self


HIDDEN: dict[str, Callable[[Any], object]] = {
    "dict": lambda ref: {"a": ref},
    "dict key": lambda ref: {ref: 1},
    "list": lambda ref: [1, ref],
    "tuple": lambda ref: (1, ref),
    "set": lambda ref: {ref},
    "deque": lambda ref: deque([ref]),
    "frozenset": lambda ref: frozenset([ref]),
    "dataclass": Parcel,
    "model": lambda ref: Box(content=ref),
    "private attribute": lambda ref: Box()._with(ref),
    "nested": lambda ref: Box(content=[Parcel({"deep": (ref,)})]),
    "not validated": lambda ref: Order.model_construct(id=ref, lines=[]),
}


@pytest.mark.parametrize("hide", HIDDEN.values(), ids=HIDDEN)
def test_a_ref_hidden_in_a_plain_value_is_found_while_composing(hide: Callable[[Any], object]) -> None:
    with pytest.raises(CompositionError) as refused:
        attempt_with(lambda order: take(hide(order.pick(lambda o: o.id))))

    assert str(refused.value).endswith(
        ": the input of step 'take' has <ref to the workflow's input.id> inside a plain value. Build the value in a "
        "run: transform(ref, lambda v: MyModel(field=v))."
    )
    assert str(refused.value).startswith("tests/unit/workflow/test_hidden_refs.py:")


def test_a_ref_given_to_a_typed_field_of_a_model_is_refused_in_our_words() -> None:
    def composition(order: Any) -> None:
        take(order)
        take.named("take-another")(Line(sku=order.pick(lambda o: o.id)))

    with pytest.raises(CompositionError) as refused:
        workflow("refused")(composition)

    line = composition.__code__.co_firstlineno + 2
    assert str(refused.value) == (
        f"tests/unit/workflow/test_hidden_refs.py:{line}: the field 'sku' of a Line was given <ref to the workflow's "
        "input.id>. Build the model in a run: transform(ref, lambda v: Line(sku=v))."
    )


def test_a_ref_in_a_field_of_a_field_is_named_by_its_path() -> None:
    with pytest.raises(CompositionError, match=r"the field 'lines\.0\.sku' of a Order was given <ref to"):
        attempt_with(lambda order: take(Order.model_validate({"id": "1", "lines": [{"sku": order}]})))


def test_what_a_model_refuses_for_another_reason_stays_its_own_error() -> None:
    with pytest.raises(ValueError, match="1 validation error for Line"):
        attempt_with(lambda _: Line.model_validate({"sku": 1}))
