"""What composing says of values and functions that do not fit where they are used."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from daemon import (
    CompositionError,
    Event,
    Hook,
    Ref,
    StepResponse,
    step,
    transform,
    wait_for_event,
    when,
    workflow,
)


class Line(BaseModel):
    sku: str


class Order(BaseModel):
    id: str
    lines: list[Line] = []


@dataclass
class Parcel:
    grams: int


class Open(BaseModel, extra="allow"):
    id: str


class OrderPaid(Event, name="order.paid"):
    order_id: str


@step("measure")
async def measure(text: str) -> int:
    return len(text)


def refused(fn: Any) -> str:
    """Return why a composition is refused."""
    with pytest.raises(CompositionError) as error:
        workflow("refused")(fn)
    return str(error.value)


def line_of(fn: Callable[..., Any], offset: int) -> str:
    return f"tests/unit/workflow/test_refused_types.py:{fn.__code__.co_firstlineno + offset}"


def test_a_ref_of_another_type_is_refused_where_it_is_given() -> None:
    def composition(order: Ref[Order]) -> None:
        measure(order)  # type: ignore[arg-type]

    assert refused(composition) == (
        f"{line_of(composition, 1)}: <ref to the workflow's input> is declared as Order, and the input of step "
        "'measure' as str. Convert it in a run: transform(ref, lambda v: ...)."
    )


def test_what_may_be_none_is_refused_where_none_is_not_accepted() -> None:
    def composition(text: Ref[str]) -> None:
        with when(text, bool) as branch:
            length = measure(text)
        double.named("twice")(branch.output(length))  # type: ignore[arg-type]

    @step("double")
    async def double(number: int) -> int:
        return 2 * number

    assert refused(composition) == (
        f"{line_of(composition, 3)}: <ref to the output of step 'measure' if 'when-1' runs> may be None, and the input "
        "of step 'twice' is declared as int. Declare that as int | None, or convert it in a run: transform(ref, lambda "
        "v: ...)."
    )


def test_a_result_of_another_type_than_declared_is_refused() -> None:
    def another(text: Ref[str]) -> Ref[str]:
        return measure(text)  # type: ignore[return-value]

    def no_ref(text: Ref[str]) -> int:
        return measure(text)  # type: ignore[return-value]

    def nothing(text: Ref[str]) -> None:
        return {"length": measure(text)}  # type: ignore[return-value]

    assert "the output of step 'measure'> is declared as int, and the result of another as str." in refused(another)
    assert refused(no_ref).endswith(
        "no_ref is annotated to return int, and returns " + _OUTPUT + ". Write -> Ref[int]."
    )
    assert "nothing is annotated to return None, and returns {'length': " in refused(nothing)


_OUTPUT = "<ref to the output of step 'measure'>"


def test_a_compensation_and_a_handler_take_what_they_get() -> None:
    checked = Hook[Order]("order-checked")

    @workflow("checking")
    def checking(order: Ref[Order]) -> None:
        checked(order)

    @step("reserve")
    async def reserve() -> StepResponse[Order, str]:
        return StepResponse(Order(id="o"), "r")

    def of_order(order: Order) -> None: ...

    def of_text(text: str) -> None: ...

    anything: Any = of_order
    with pytest.raises(
        CompositionError, match=r"what step 'reserve' gives its compensation is declared as str, and the"
    ):
        reserve.compensate(anything)
    wrong: Any = of_text
    with pytest.raises(
        CompositionError, match=r"what <hook 'order-checked'> gives is declared as Order, and the param"
    ):
        checking.on(checked)(wrong)


@pytest.mark.parametrize(
    ("use", "sentence"),
    [
        (
            lambda o: transform(o, no_value),
            "transform gives its function 1 value, which nothing_taken() -> int does not take.",
        ),
        (
            lambda o: when(o, two_values),
            "when gives its function 1 value, which equal(a: int, b: int) -> bool does not take.",
        ),
        (lambda o: transform(o, measure), "transform takes a pure function, not <step 'measure' defined at "),
        (
            lambda o: transform(o, iterating),
            "transform takes a pure function that returns its result, not a generator.",
        ),
        (lambda o: transform(o, weigh), "is declared as Order, and the parameter 'parcel' of weigh as Parcel. Have it"),
        (
            lambda o: wait_for_event(OrderPaid, key=o, match=of_a_parcel),
            "the event 'order.paid' is declared as OrderPaid, and the parameter 'parcel' of weigh as Parcel.",
        ),
        (lambda o: o.pick(lambda v: v.lins), "Order has no attribute 'lins'. Did you mean 'lines'?"),
        (lambda o: o.pick(lambda v: v.lines[0].name), "<ref to the workflow's input>: Line has no attribute 'name'."),
        (lambda o: o.pick("id"), "takes a function of one value, not 'id': pick(lambda v: v.id)."),
    ],
)
def test_a_function_that_no_run_could_call_is_refused(use: Callable[[Any], object], sentence: str) -> None:
    def composition(order: Ref[Order]) -> None:
        use(order)

    assert sentence in refused(composition)


def nothing_taken() -> int:
    return 1


def equal(a: int, b: int) -> bool:
    return a == b


no_value: Any = nothing_taken
two_values: Any = equal


def iterating(order: Order) -> Any:
    yield order


def weigh(parcel: Parcel) -> int:
    return parcel.grams


of_a_parcel: Any = weigh


@pytest.mark.parametrize(
    "use",
    [
        lambda o: transform(o, str),
        lambda o: transform(o, Order.model_dump_json),
        lambda o: transform(o, lambda *values: len(values)),
        lambda o: when(o, bool).__enter__().__exit__(None, None, None),
        lambda o: o.pick(lambda v: v.model_fields_set),
    ],
)
def test_a_function_that_a_run_can_call_is_accepted(use: Callable[[Any], object]) -> None:
    @workflow("accepted")
    def accepted(order: Ref[Order]) -> None:
        use(order)

    assert accepted.graph.workflow == "accepted"


def test_an_attribute_that_only_a_value_knows_is_accepted() -> None:
    @workflow("opened")
    def opened(value: Ref[Open]) -> Any:
        return value.pick(lambda v: v.colour)  # type: ignore[attr-defined]

    assert opened.graph.result is not None


@step("make")
async def make() -> int:
    return 1


@workflow("of-none")
def of_none() -> None:
    make()


@workflow("of-text")
def of_text(text: Ref[str]) -> None:
    measure(text)


taking: Any = measure
making: Any = make
child_of_none: Any = of_none
child_of_text: Any = of_text


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (lambda _: taking(), "step 'measure' takes one input, a value or a ref: my_step(ref)."),
        (lambda order: taking(order, order), "step 'measure' takes one input, a value or a ref: my_step(ref)."),
        (lambda order: taking(text=order), "step 'measure' takes one input, a value or a ref: my_step(ref)."),
        (making, "step 'make' takes no input: my_step()."),
        (
            child_of_none.as_step,
            "workflow 'of-none' takes no input: my_workflow.as_step(name=...).",
        ),
        (lambda _: child_of_text.as_step(), "workflow 'of-text' takes one input: my_workflow.as_step(ref, name=...)."),
    ],
)
def test_too_many_inputs_or_too_few_are_told_in_words(use: Callable[[Any], object], said: str) -> None:
    def composition(order: Ref[Order]) -> None:
        use(order)

    assert refused(composition).endswith(said)
