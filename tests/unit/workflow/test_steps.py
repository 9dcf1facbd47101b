"""What a step is made of, and what it is by itself: outside a workflow, under another name, with other options."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import svcs

from daemon import CompositionError, DefinitionError, Ref, StepContext, StepResponse, Trigger, step
from daemon.workflow.context import RunScope

HERE = "tests/unit/workflow/test_steps.py"


@step("reserve")
async def reserve(sku: str, ctx: StepContext) -> StepResponse[str, int]:
    return StepResponse(f"{sku} for {ctx.run_id}", compensate_input=ctx.attempt)


@step("length")
def length(sku: str) -> int:
    return len(sku)


@step("count")
async def count() -> int:
    return 1


@pytest.fixture
def ctx() -> StepContext:
    scope = RunScope(svcs.Container(svcs.Registry()), "shop", "order-17", 1, "place-order", Trigger("call", ""), 1_000)
    return StepContext(scope, "reserve", 2)


async def test_a_bare_function_runs_with_its_input_and_context(ctx: StepContext) -> None:
    response = await reserve.run("pen", ctx)

    assert isinstance(response, StepResponse)
    assert response.output == "pen for order-17"
    assert response.compensate_input == 2


async def test_a_bare_function_that_takes_less_gets_less(ctx: StepContext) -> None:
    assert await length.run("pen") == 3
    assert await length.run("pen", ctx) == 3
    assert await count.run() == 1


async def test_a_bare_function_that_needs_a_context_says_so() -> None:
    with pytest.raises(CompositionError, match=r"reserve takes a context: call \.run\(value, ctx\) with"):
        await reserve.run("pen")


async def test_a_bare_function_raises_its_own_error() -> None:
    @step("break")
    async def breaks(_: str) -> None:
        raise LookupError("no pen")

    with pytest.raises(LookupError, match="no pen"):
        await breaks.run("pen")


def test_an_idempotency_key_names_run_attempt_and_step_and_is_short(ctx: StepContext) -> None:
    scope = RunScope(ctx.container, "shop", "r" * 200, 3, "place-order", Trigger("call", ""), 1_000)
    long = StepContext(scope, "s" * 100, 1).idempotency_key

    assert ctx.idempotency_key == "shop:order-17:1:reserve"
    assert len(long) <= 255
    assert long.startswith("shop:rrr")
    assert long != StepContext(scope, "s" * 99 + "t", 1).idempotency_key


def test_a_response_without_a_compensate_input_gives_the_output() -> None:
    plain, given, none = StepResponse(1), StepResponse(1, "undo"), StepResponse(1, None)

    assert (plain.compensate_input, plain.has_compensate_input) == (1, False)
    assert (given.compensate_input, given.has_compensate_input) == ("undo", True)
    assert (none.compensate_input, none.has_compensate_input) == (None, True)
    assert (StepResponse.skip().output, StepResponse.skip().skipped) == (None, True)


def test_a_pending_response_has_only_what_undoes_it() -> None:
    bare, undone = StepResponse.pending(), StepResponse.pending(compensate_input=None)

    assert (bare.is_pending, bare.has_compensate_input, bare.output) == (True, False, None)
    assert (undone.is_pending, undone.has_compensate_input, undone.compensate_input) == (True, True, None)
    assert not StepResponse(1).is_pending


async def bare(sku: str) -> str:
    return sku


def test_a_compensation_stays_the_function_and_knows_what_it_takes() -> None:
    @step("taken")
    async def taken() -> StepResponse[int, str]:
        return StepResponse(1, "undo")

    async def undo(data: str | None, ctx: StepContext) -> None: ...

    kept = taken.compensate(undo)

    compensation = taken.named("again").definition.compensation
    assert kept is undo
    assert compensation is not None
    assert (compensation.arity, compensation.accepts_none, compensation.is_async) == (2, True, True)


def unannotated(data):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    return data


def of_any(data: Any) -> None: ...


def of_object(data: object) -> None: ...


def of_none(data: None) -> None: ...


def of_text(data: str) -> None: ...


def of_text_or_none(data: str | None) -> None: ...


def of_nothing() -> None: ...


@pytest.mark.parametrize(
    ("fn", "accepts"),
    [
        (unannotated, True),
        (of_any, True),
        (of_object, True),
        (of_none, True),
        (of_text_or_none, True),
        (of_nothing, True),
        (of_text, False),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_compensation_accepts_none_by_its_annotation(fn: Any, accepts: bool) -> None:  # noqa: FBT001 - a case
    made: Any = step("made")(unannotated)

    made.compensate(fn)

    assert made.definition.compensation.accepts_none is accepts


def test_a_step_has_one_compensation() -> None:
    made: Any = step("made")(bare)
    made.compensate(of_text)

    with pytest.raises(DefinitionError) as refused:
        made.compensate(of_any)

    assert str(refused.value) == (
        f"{HERE}:{of_any.__code__.co_firstlineno}: step 'made' has a compensation already, at "
        f"{HERE}:{of_text.__code__.co_firstlineno}."
    )


def three(a: int, b: int, c: int) -> None: ...


def keyword_only(a: int, *, b: int) -> None: ...


def variadic(*values: int) -> None: ...


def keywords(**values: int) -> None: ...


def of_a_ref(a: Ref[int]) -> int:
    return 1


def generator(a: int) -> Iterator[int]:
    yield a


async def async_generator(a: int) -> AsyncIterator[int]:
    yield a


class Callable:
    def __call__(self, a: int) -> int:
        return a


NOT_FIT = "does not fit a step, which takes (), (input) or (input, ctx)."
SHAPES: dict[str, tuple[Any, str]] = {
    "three": (
        three,
        f"three(a: int, b: int, c: int) -> None {NOT_FIT}",
    ),
    "keyword only": (keyword_only, NOT_FIT),
    "variadic": (variadic, NOT_FIT),
    "keywords": (keywords, NOT_FIT),
    "a ref": (of_a_ref, "step is called in a run, where values are: write int."),
    "generator": (
        generator,
        "step generator is a generator, which would do nothing when it is called; write it without yield.",
    ),
    "async generator": (
        async_generator,
        "step async_generator is a generator, which would do nothing when it is called; write it without yield.",
    ),
    "class": (Callable, "a step is made of a function, not of the class Callable."),
    "object": (Callable(), "a step is made of a function, not of a Callable."),
    "step": (length, "a step is made of a function, not of a Step."),
}


@pytest.mark.parametrize(("fn", "sentence"), SHAPES.values(), ids=SHAPES)
def test_a_step_is_a_function_of_an_input_and_a_context(fn: Any, sentence: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        step("shaped")(fn)

    assert str(refused.value).startswith(f"{HERE}:")
    assert str(refused.value).endswith(sentence)


def test_a_compensation_takes_data_and_a_context() -> None:
    made: Any = step("made")(bare)

    with pytest.raises(DefinitionError, match=r"fit a compensation, which takes \(data\), \(data, ctx\) or \(\)\."):
        made.compensate(three)
    with pytest.raises(DefinitionError, match=r"compensation async_generator is a generator, which would do nothing"):
        made.compensate(async_generator)
