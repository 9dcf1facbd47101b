"""What a composition may do; every refusal says where, and what to write."""

from collections.abc import Callable
from typing import Any

import pytest

from daemon import CompositionError, Ref, parallelize, transform, workflow
from tests.unit.workflow.attempts import Order, Socket, attempt_with, charge, count, line_of, take

anything: Any = None
HERE = "tests/unit/workflow/test_composing.py"


def refused(fn: Any, name: str = "refused") -> str:
    """Return why a composition is refused."""
    with pytest.raises(CompositionError) as error:
        workflow(name)(fn)
    return str(error.value)


def test_a_step_outside_a_composition_is_refused() -> None:
    with pytest.raises(CompositionError) as with_input:
        take("sku")
    with pytest.raises(CompositionError) as without:
        count()

    assert str(with_input.value).startswith(f"{HERE}:")
    assert str(with_input.value).endswith(
        ": step 'take' was called outside a composition. It belongs inside a function decorated with @workflow(...), "
        "which records it; to run its bare function, write await the_step.run(value, ctx)."
    )
    assert str(without.value).endswith("write await the_step.run().")


@pytest.mark.parametrize(
    ("use", "sentence"),
    [
        (lambda: transform(anything, len), "transform was called outside a composition. {} call the function itself."),
        (parallelize, "parallelize was called outside a composition. {} use an asyncio.TaskGroup."),
    ],
    ids=["transform", "parallelize"],
)
def test_a_helper_outside_a_composition_is_refused(use: Callable[[], object], sentence: str) -> None:
    with pytest.raises(CompositionError) as error:
        use()

    belongs = "It belongs inside a function decorated with @workflow(...), which records it; elsewhere,"
    assert str(error.value).startswith(f"{HERE}:")
    assert str(error.value).endswith(sentence.format(belongs))


def test_the_composition_is_over_after_a_refusal() -> None:
    refused(lambda: None)
    with pytest.raises(CompositionError, match="cannot be looped over"):
        attempt_with(list)

    with pytest.raises(CompositionError, match="outside a composition"):
        count()


def test_a_step_used_twice_needs_another_name() -> None:
    def composition(order: Ref[Order]) -> None:
        charge(order)
        charge(order)

    assert refused(composition) == (
        f"The name 'charge' is used twice in workflow 'refused': at {line_of(composition, 1)} and at "
        f'{line_of(composition, 2)}: use .named("...") for a second use: my_step.named("charge-again")(...).'
    )


def test_a_step_under_another_name_may_be_used_again() -> None:
    @workflow("twice")
    def twice(order: Ref[Order]) -> None:
        charge(order)
        charge.named("charge-again")(order)

    assert [node.name for node in twice.graph.steps()] == ["charge", "charge-again"]


def test_two_transforms_with_one_name_are_refused_and_without_a_name_are_numbered() -> None:
    @workflow("numbered")
    def numbered(order: Ref[Order]) -> None:
        transform(order, lambda o: o.id)
        transform(order, lambda o: o.id, name="second")
        transform(order, lambda o: o.id)

    def composition(order: Ref[Order]) -> None:
        transform(order, lambda o: o.id, name="same")
        transform(order, lambda o: o.id, name="same")

    assert [node.name for node in numbered.graph.nodes] == ["transform-1", "second", "transform-2"]
    assert refused(composition).endswith(
        f'and at {line_of(composition, 2)}: give one of them another name: transform(..., name="...").'
    )


@pytest.mark.parametrize("name", ["", "a" * 101, "two\nlines", "take[0]", 3, None.__class__])
def test_a_name_that_a_run_could_not_tell_apart_or_show_is_refused(name: Any) -> None:
    def composition(order: Ref[Order]) -> None:
        transform(order, lambda o: o, name=name)

    assert refused(composition).startswith(
        f"{line_of(composition, 1)}: name is a text of 1 to 100 printable characters"
    )


def test_a_constant_that_the_step_does_not_take_is_refused_while_composing() -> None:
    def composition() -> None:
        wanted: Any = "order-1"
        charge(wanted)

    assert refused(composition) == (
        f"{line_of(composition, 2)}: the input of step 'charge' cannot be stored as JSON of Order: is str where Order "
        "is declared"
    )


def test_a_live_object_as_a_constant_is_refused_while_composing() -> None:
    with pytest.raises(CompositionError, match="the input of step 'take' cannot be stored as JSON of Any: "):
        attempt_with(lambda _: take(Socket()))


async def _later(order: object) -> object:
    return order


TRANSFORMS: dict[str, tuple[Callable[[Any], object], str]] = {
    "nothing": (lambda _: transform(), "transform takes one to 5 refs and a function, not 0 refs."),  # type: ignore[call-overload]
    "no ref": (lambda _: transform(len), "transform takes one to 5 refs and a function, not 0 refs."),  # type: ignore[call-overload]
    "six refs": (lambda ref: transform(*[ref] * 6, max), "one to 5 refs and a function, not 6 refs."),  # type: ignore[call-overload]
    "no function": (
        lambda ref: transform(ref, ref),
        "the last argument of transform is the function: transform(a, b, lambda a, b: ...).",
    ),
    "a plain value": (
        lambda ref: transform(ref, 17, max),  # type: ignore[call-overload]
        "not int; what is known already is there inside the function: transform(ref, lambda v: ...).",
    ),
    "refs in a dict": (
        lambda ref: transform({"order": ref}, max),  # type: ignore[call-overload]
        "not dict; give it each ref by itself: transform(a, b, lambda a, b: ...).",
    ),
    "two functions": (
        lambda ref: transform(ref, max, min),  # type: ignore[call-overload]
        "not builtin_function_or_method; do everything in one function, the last argument.",
    ),
    "async function": (
        lambda ref: transform(ref, _later),
        "transform takes a pure function, not an async def; what waits belongs into a step.",
    ),
}


@pytest.mark.parametrize(("attempt", "sentence"), TRANSFORMS.values(), ids=TRANSFORMS)
def test_a_transform_takes_refs_and_a_function(attempt: Callable[[Any], object], sentence: str) -> None:
    with pytest.raises(CompositionError) as error:
        attempt_with(attempt)

    assert str(error.value).startswith(f"{HERE}:")
    assert str(error.value).endswith(sentence)
