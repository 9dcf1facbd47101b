"""What a composition may be, take and return; every refusal says where, and what to write."""

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from daemon import CompositionError, Ref, step, workflow
from tests.unit.workflow.attempts import Order, Socket, charge, count, line_of, take

if TYPE_CHECKING:
    from decimal import Decimal as OnlyForTypes

HERE = "tests/unit/workflow/test_compositions.py"


def refused(fn: Any, name: str = "refused") -> str:
    """Return why a composition is refused."""
    with pytest.raises(CompositionError) as error:
        workflow(name)(fn)
    return str(error.value)


class Place:
    def method(self) -> None: ...

    def __call__(self, order: Ref[Order]) -> None: ...


async def asynchronous(order: Ref[Order]) -> None: ...


def generator(order: Ref[Order]) -> Iterator[Ref[int]]:
    yield charge(order)


async def async_generator(order: Ref[Order]) -> AsyncIterator[Ref[int]]:
    yield charge(order)


def two(order: Ref[Order], other: Ref[Order]) -> None: ...


def keyword_only(order: Ref[Order], *, other: Ref[Order]) -> None: ...


def variadic(*orders: Ref[Order]) -> None: ...


PLAIN = (
    "is composed by a plain function that is called once: write `def`, without await or yield; what waits belongs into "
    "steps."
)
SHAPES: dict[str, tuple[Any, str]] = {
    "lambda": (lambda order: order, ": workflow 'refused' is a lambda; define a function with a name."),
    "async": (asynchronous, PLAIN),
    "generator": (generator, PLAIN),
    "async generator": (async_generator, PLAIN),
    "method": (Place.method, "workflow 'refused' is a method; define it at module level."),
    "bound method": (Place().method, "workflow 'refused' is made of a plain function, not of a method."),
    "class": (Place, "workflow 'refused' is made of a plain function, not of the class Place."),
    "object": (Place(), "workflow 'refused' is made of a plain function, not of a Place."),
    "builtin": (len, "is made of a plain function, not of a builtin_function_or_method."),
    "two refs": (two, "does not fit a workflow, which takes no parameter or one Ref."),
    "keyword": (keyword_only, "does not fit a workflow, which takes no parameter or one Ref."),
    "variadic": (variadic, "does not fit a workflow, which takes no parameter or one Ref."),
}


@pytest.mark.parametrize(("fn", "sentence"), SHAPES.values(), ids=SHAPES)
def test_a_composition_is_a_plain_function_of_one_ref_or_none(fn: Any, sentence: str) -> None:
    said = refused(fn)

    assert said.startswith(f"{HERE}:")
    assert said.endswith(sentence)


def test_a_workflow_within_a_composition_is_refused() -> None:
    def outer() -> None:
        workflow("inner")(with_a_count)

    said = refused(outer)

    assert said.startswith(f"{HERE}:")
    assert said.endswith("'inner' is defined while another one is being composed; define it at module level.")


def with_a_count() -> None:
    count()


RESULTS: dict[str, tuple[object, str]] = {
    "a number": (1, "int"),
    "text": ("receipt", "str"),
    "a set": ({1}, "set"),
}


@pytest.mark.parametrize(("value", "kind"), RESULTS.values(), ids=RESULTS)
def test_a_workflow_returns_refs_or_nothing(value: object, kind: str) -> None:
    def composition(order: Ref[Order]) -> Any:
        charge(order)
        return value

    assert refused(composition) == (
        f"{line_of(composition)}: a workflow returns a ref, a dict, list or tuple of refs, or nothing, not {kind}. "
        "Build the result in a run: return transform(ref, lambda v: ...)."
    )


def test_a_ref_inside_a_model_is_no_result() -> None:
    class Receipt(BaseModel):
        charge: Any

    def composition(order: Ref[Order]) -> Any:
        return {"receipt": Receipt(charge=charge(order))}

    assert "the workflow's result has <ref to the output of step 'charge'> inside a plain value" in refused(composition)


def test_a_result_has_texts_as_keys() -> None:
    def composition() -> object:
        return {"1": 1, 1: count()}

    assert refused(composition) == (
        f"{line_of(composition)}: a workflow's result has the key 1, and keys of JSON are texts: write '1'."
    )


def test_a_declared_result_that_is_not_returned_is_refused() -> None:
    def composition(order: Ref[Order]) -> Ref[int]:  # type: ignore[return]
        charge(order)

    assert refused(composition) == (
        f"{line_of(composition)}: composition declares a result and returns none; return the ref of it."
    )


def test_a_parameter_that_is_annotated_as_anything_but_a_ref_is_refused() -> None:
    def composition(order: Order) -> None:
        take(order)

    def lines(lines: list[Ref[Order]]) -> None: ...

    assert refused(composition) == (
        f"{line_of(composition)}: the parameter 'order' of composition is annotated as Order, and is a ref: a "
        "composition is called once, when no value is there yet. Write order: Ref[Order]."
    )
    assert "the parameter 'lines' of lines is annotated as list[" in refused(lines)


def test_a_parameter_without_a_type_is_a_ref_of_anything() -> None:
    def bare(order) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        take(order)

    def declared(order: Any) -> None:
        take(order)

    def of_anything(order: Ref) -> None:  # type: ignore[type-arg]
        take(order)

    for fn in (bare, declared, of_anything):
        composed: Any = workflow(fn.__name__.replace("_", "-"))(fn)
        assert composed.graph.input.type is Any


def test_an_annotation_that_only_a_type_checker_knows_is_refused() -> None:
    async def price(order: "OnlyForTypes") -> int:
        return int(order)

    def composition(order: "Ref[OnlyForTypes]") -> None:
        take(order)

    with pytest.raises(CompositionError) as of_step:
        step("price")(price)

    assert str(of_step.value) == (
        f"{line_of(price)}: the annotation 'OnlyForTypes' of price is not known when the module runs. Import it at run "
        "time: outside `if TYPE_CHECKING:`, and at module level."
    )
    assert refused(composition).startswith(f"{line_of(composition)}: the annotation 'OnlyForTypes' of composition is")


def test_an_annotation_without_a_json_form_is_refused() -> None:
    async def connect(socket: Socket) -> None: ...

    async def listen() -> Socket:
        return Socket()

    def composition(socket: Ref[Socket]) -> None: ...

    with pytest.raises(CompositionError) as of_input:
        step("connect")(connect)
    with pytest.raises(CompositionError, match="the output of listen: Socket has no JSON form"):
        step("listen")(listen)

    assert str(of_input.value).startswith(f"{line_of(connect)}: the input of connect: Socket has no JSON form: ")
    assert str(of_input.value).endswith(
        "Use a pydantic model, a dataclass or plain data, and get live objects from the container instead."
    )
    assert refused(composition).startswith(f"{line_of(composition)}: the input of composition: Socket has no JSON form")
