"""Outputs that are missing, since their step was skipped or its failure was tolerated: who is given None."""

from typing import Any

from daemon import (
    Ref,
    SkipTo,
    SourceStep,
    StepResponse,
    StepState,
    for_each,
    parallelize,
    step,
    transform,
    when,
    workflow,
)
from tests.contract.engine.processes import Journal, Process


def _optional(journal: Journal, *, fails: BaseException | None = None, **options: Any) -> SourceStep[str, Any]:
    """Return a step that may fail, and whose compensation takes what there is."""
    options.setdefault("on_failure", "continue")

    @step("optional", **options)
    async def optional() -> str:
        journal.append("optional")
        raise fails or ValueError("no")

    @optional.compensate
    async def undo(data: str | None) -> None:
        journal.append(f"undo optional {data}")

    return optional


async def test_an_input_that_a_step_cannot_take_is_tolerated_too_and_was_never_tried(
    shop: Process, journal: Journal
) -> None:
    optional = _optional(journal)

    @step("takes-text", on_failure="continue")
    async def takes_text(text: str) -> str:
        journal.append(text)
        return text

    @takes_text.compensate
    async def undo(_: str | None) -> None:
        journal.append("undo takes-text")

    @workflow("unfit")
    def unfit() -> None:
        takes_text(optional())
        journal.failing()()

    run = await unfit(shop.container).run(run_id="u-1", raise_on_error=False)

    assert journal == ["optional", "break", "undo optional None"]
    assert [(error.step, error.tolerated) for error in run.errors] == [
        ("optional", True),
        ("takes-text", True),
        ("break", False),
    ]
    assert str(run.errors[1]) == (
        "CodecError: the input of step 'takes-text' would not come back from JSON as str: value: Input should be a "
        "valid string. 'optional' did not give it, or not all of it: what is skipped, or fails and is tolerated, gives "
        "None, so declare that what gets it takes None."
    )
    assert (run.steps["takes-text"].state, run.steps["takes-text"].attempts) == (StepState.FAILED, 0)


async def test_what_a_run_returns_is_none_where_a_step_gave_nothing(shop: Process, journal: Journal) -> None:
    optional = _optional(journal)

    @step("wrong", on_failure="continue")
    async def wrong() -> int:
        return "no number"  # type: ignore[return-value]

    @step("odd", on_failure="continue")
    async def odd(number: int) -> int:
        if number % 2 == 0:
            raise ValueError(number)
        return number

    @workflow("inner")
    def inner() -> Ref[int]:
        return wrong()

    @workflow("outer")
    def outer(numbers: Ref[list[int]]) -> object:
        return [optional(), inner.as_step(), for_each(numbers, odd)]

    @workflow("looping")
    def looping(numbers: Ref[list[int]]) -> Ref[list[int]]:
        return for_each(numbers, odd)

    run = await outer(shop.container).run([1, 2, 3], run_id="o-1")
    stored = await shop.engine.get("o-1")

    assert run.result == stored.result == [None, None, [1, None, 3]]
    assert (await shop.engine.get("o-1:inner")).result is None
    assert (await looping(shop.container).run([2, 3])).result == [None, 3]


async def test_whoever_needs_what_was_not_given_is_told_who_did_not_give_it(shop: Process, journal: Journal) -> None:
    optional = _optional(journal)

    @step("echo")
    async def echo(text: str) -> str:
        return text

    @workflow("inner")
    def inner(text: Ref[str]) -> Ref[str]:
        return echo(text)

    @workflow("outer")
    def outer() -> None:
        inner.as_step(optional())

    run = await outer(shop.container).run(raise_on_error=False)

    assert "the input of workflow 'inner' would not come back from JSON as str" in str(run.errors[-1])
    assert "'optional' did not give it" in str(run.errors[-1])


async def test_whatever_a_run_has_skipped_is_none_in_its_result(shop: Process, journal: Journal) -> None:
    @step("skipping", on_failure=SkipTo("last"))
    async def skipping() -> str:
        raise ValueError("no")

    @step("echo")
    async def echo(text: str) -> str:
        return text

    @workflow("inner")
    def inner(text: Ref[str]) -> Ref[str]:
        return echo(text)

    @workflow("outer")
    def outer(text: Ref[str]) -> object:
        skipped = skipping()
        with when(text, bool) as some:
            inside = echo(text)
        with some.otherwise() as none:
            other = echo.named("other")(text)
        loop = for_each(transform(text, list), echo.named("each"))
        left, right = parallelize(echo.named("left")(text), inner.as_step(text))
        upper = transform(left, lambda value: value.upper())
        echo.named("last")(text)
        return [skipped, some.output(inside), none.output(other), loop, (left, right), upper]

    run = await outer(shop.container).run("tea", run_id="o-1")
    stored = await shop.engine.get("o-1")

    assert run.result == stored.result == [None, None, None, None, (None, None), None]
    assert list(run.steps) == ["skipping", "last"]


async def test_what_a_loop_in_a_block_did_not_give_is_none_in_the_result(shop: Process) -> None:
    @step("odd")
    async def odd(number: int) -> StepResponse[int, int]:
        return StepResponse.skip() if number % 2 == 0 else StepResponse(number)

    @workflow("inner")
    def inner(numbers: Ref[list[int]]) -> Ref[list[int]]:
        return for_each(numbers, odd)

    @workflow("outer")
    def outer(numbers: Ref[list[int]]) -> object:
        with when(numbers, bool) as some:
            found = for_each(numbers, odd)
            with when(numbers, bool) as still:
                again = for_each(numbers, odd.named("odd-again"))
            child = inner.as_step(numbers)
        return {"loop": some.output(found), "nested": some.output(still.output(again)), "child": some.output(child)}

    @workflow("alone")
    def alone(numbers: Ref[list[int]]) -> object:
        with when(numbers, bool) as some:
            found = for_each(numbers, odd)
        return some.output(found)

    run = await outer(shop.container).run([1, 2, 3], run_id="o-1")
    stored = await shop.engine.get("o-1")

    assert run.result == stored.result == {"loop": [1, None, 3], "nested": [1, None, 3], "child": [1, None, 3]}
    assert (await alone(shop.container).run([1, 2])).result == [1, None]
    assert (await alone(shop.container).run([])).result is None


async def test_a_result_that_is_none_by_mistake_is_none_of_that_kind(shop: Process) -> None:
    @step("one")
    async def one() -> int:
        return 1

    @workflow("mistaken")
    def mistaken() -> Ref[int]:
        return transform(one(), lambda _: None)  # type: ignore[arg-type, return-value]

    run = await mistaken(shop.container).run(raise_on_error=False)

    assert "the workflow's result would not come back from JSON as int" in str(run.failure())
