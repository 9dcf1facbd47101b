"""What a failed step may skip to."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from daemon import CompositionError, Ref, SkipTo, Step, for_each, parallelize, sleep, transform, when, workflow
from tests.unit.workflow.attempts import Order, take

HERE = "tests/unit/workflow/test_skipping.py"
first, second, third = (take.named(name) for name in ("first", "second", "third"))


def skips(to: str) -> Step[Any, Any, Any]:
    return take.named("skipping").options(on_failure=SkipTo(to))


def next_one(order: Ref[Order]) -> None:
    skips("first")(order)
    first(order)


def a_member_of_a_group(order: Ref[Order]) -> None:
    skips("second")(order)
    parallelize(first(order), second(order), name="both")


def out_of_its_block(order: Ref[Order]) -> None:
    with when(order, bool):
        with when(order, bool):
            skips("last")(order)
        first(order)
    transform(order, lambda o: o, name="last")


def from_a_group(order: Ref[Order]) -> None:
    parallelize(first(order), skips("both-2")(order))
    parallelize(second(order), third(order), name="both-2")


def from_a_loop(order: Ref[Order]) -> None:
    for_each(order.pick(lambda o: o.lines), skips("first"))
    first(order)


def to_a_condition(order: Ref[Order]) -> None:
    skips("later")(order)
    with when(order, bool, name="later"):
        first(order)


RIGHT = [next_one, a_member_of_a_group, out_of_its_block, from_a_group, from_a_loop, to_a_condition]


@pytest.mark.parametrize("composition", RIGHT, ids=lambda fn: fn.__name__)
def test_a_failed_step_may_skip_to_what_comes_later_in_its_block_or_one_around_it(
    composition: Callable[[Ref[Order]], None],
) -> None:
    composed = workflow(f"skips-{composition.__name__}".replace("_", "-"))(composition)

    assert '"on_failure":"skip to' in composed.graph.json.decode()


def nowhere(order: Ref[Order]) -> None:
    skips("frist")(order)
    first(order)


def itself(order: Ref[Order]) -> None:
    skips("skipping")(order)
    first(order)


def back(order: Ref[Order]) -> None:
    first(order)
    skips("first")(order)


def back_to_the_block_around(order: Ref[Order]) -> None:
    with when(order, bool, name="around"):
        skips("around")(order)


def into_a_block(order: Ref[Order]) -> None:
    skips("first")(order)
    with when(order, bool):
        first(order)


def back_into_a_block(order: Ref[Order]) -> None:
    with when(order, bool):
        first(order)
    skips("first")(order)


def beside(order: Ref[Order]) -> None:
    parallelize(skips("first")(order), first(order))
    second(order)


def many(order: Ref[Order]) -> None:
    skips("nowhere")(order)
    for at in range(11):
        take.named(f"step-{at}")(order)


WRONG: dict[Callable[[Ref[Order]], None], str] = {
    nowhere: "workflow 'attempt' has no 'frist'. Name what comes later in its block or in one around it: first.",
    itself: "that is the step itself. Name what comes later in its block or in one around it: first.",
    back: "'first', at {}:1, comes before it. Name what comes later in its block or in one around it: nothing does, so "
    'write on_failure="continue".',
    back_to_the_block_around: "'around', at {}:1, comes before it.",
    into_a_block: "'first', at {}:3, is inside another block. Name what comes later in its block or in one around it: "
    "when-1.",
    back_into_a_block: "'first', at {}:2, is inside another block.",
    beside: "'first', at {}:1, is of the same parallel group.",
    many: "step-8, step-9, ....",
}

# Where the step is, if it is not in the first line.
LATER: dict[Callable[[Ref[Order]], None], int] = {back: 2, back_to_the_block_around: 2, back_into_a_block: 3}


@pytest.mark.parametrize(("composition", "said"), WRONG.items(), ids=[fn.__name__ for fn in WRONG])
def test_skipping_to_what_does_not_come_later_is_refused_with_its_place(
    composition: Callable[[Ref[Order]], None], said: str
) -> None:
    with pytest.raises(CompositionError) as refused:
        workflow("attempt")(composition)

    line = composition.__code__.co_firstlineno
    message = str(refused.value)
    for offset in (1, 2, 3):
        said = said.replace(f"{{}}:{offset}", f"{HERE}:{line + offset}")
    assert message.startswith(f"{HERE}:{line + LATER.get(composition, 1)}: step 'skipping' has on_failure=SkipTo(")
    assert said in message


def test_a_chain_of_steps_that_skip_is_checked_quickly() -> None:
    @workflow("long")
    def long(order: Ref[Order]) -> None:
        for at in range(400):
            take.named(f"step-{at}").options(on_failure=SkipTo("pause"))(order)
        sleep(timedelta(seconds=1), name="pause")

    assert len(long.graph.nodes) == 401
