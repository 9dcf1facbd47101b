"""What may be done to a ref while composing, and what is refused at once."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest

from daemon import CompositionError, Ref, transform, workflow
from tests.unit.workflow.attempts import Order, attempt_with, take


async def awaited(ref: Any) -> object:
    return await ref


def looped(ref: Any) -> None:
    for _ in ref:
        pass


def written(ref: Any) -> None:
    ref.id = 1


def item_written(ref: Any) -> None:
    ref[0] = 1


def item_deleted(ref: Any) -> None:
    del ref[0]


def deleted(ref: Any) -> None:
    del ref.id


def entered(ref: Any) -> None:
    with ref:
        pass


COMPARE = "it cannot be compared. Write with when(ref, lambda v: v == ...): instead."
COMPUTE = "it cannot be computed with. Write transform(ref, lambda v: v + ...) instead."
FORMAT = "it cannot be formatted. Write transform(ref, lambda v: f'... {v}') instead."
TRUTH = "it is neither true nor false. Write with when(ref, lambda v: ...): instead."
TRAPS: dict[str, tuple[Callable[[Any], object], str]] = {
    "condition": (lambda ref: 1 if ref else 2, TRUTH),
    "not": (lambda ref: not ref, TRUTH),
    "and": (lambda ref: ref and 1, TRUTH),
    "==": (lambda ref: ref == 1, COMPARE),
    "== itself": (lambda ref: ref == ref, COMPARE),  # noqa: PLR0124 - that is the case
    "!=": (lambda ref: ref != 1, COMPARE),
    "<": (lambda ref: ref < 1, COMPARE),
    "<=": (lambda ref: ref <= 1, COMPARE),
    ">": (lambda ref: ref > 1, COMPARE),
    ">=": (lambda ref: ref >= 1, COMPARE),
    "for": (looped, "it cannot be looped over. Write for_each(ref, step) instead."),
    "unpacked": (lambda ref: [*ref], "it cannot be looped over. Write for_each(ref, step) instead."),
    "list()": (list, "it cannot be looped over. Write for_each(ref, step) instead."),
    "in": (lambda ref: 1 in ref, "it contains nothing. Write transform(ref, lambda v: ... in v) instead."),
    "len": (len, "it has no length. Write transform(ref, lambda v: len(v)) instead."),
    "str": (str, FORMAT),
    "f-string": (lambda ref: f"{ref}", FORMAT),
    "f-string with a width": (lambda ref: f"{ref:>10}", FORMAT),
    "%": (lambda ref: "%s" % ref, FORMAT),  # noqa: UP031 - that is the case
    "format": ("{}".format, FORMAT),
    "print": (print, FORMAT),
    "+": (lambda ref: ref + 1, COMPUTE),
    "+ on the right": (lambda ref: 1 + ref, COMPUTE),
    "text +": (lambda ref: "hello " + ref, COMPUTE),
    "-": (lambda ref: ref - 1, COMPUTE),
    "*": (lambda ref: 2 * ref, COMPUTE),
    "/": (lambda ref: ref / 2, COMPUTE),
    "//": (lambda ref: ref // 2, COMPUTE),
    "% 2": (lambda ref: ref % 2, COMPUTE),
    "**": (lambda ref: ref**2, COMPUTE),
    "@": (lambda ref: ref @ ref, COMPUTE),
    "&": (lambda ref: ref & 1, COMPUTE),
    "|": (lambda ref: 1 | ref, COMPUTE),
    "^": (lambda ref: ref ^ 1, COMPUTE),
    "<<": (lambda ref: ref << 1, COMPUTE),
    "unary -": (lambda ref: -ref, COMPUTE),
    "~": (lambda ref: ~ref, COMPUTE),
    "abs": (abs, COMPUTE),
    "int": (int, COMPUTE),
    "float": (float, COMPUTE),
    "round": (round, COMPUTE),
    "floor": (math.floor, COMPUTE),
    "as an index": (lambda ref: [1, 2][ref], COMPUTE),
    "divmod": (lambda ref: divmod(ref, 2), COMPUTE),
    "reversed": (reversed, COMPUTE),
    "next": (next, COMPUTE),
    "with": (entered, COMPUTE),
    "attribute": (lambda ref: ref.id, "it has no attribute 'id'. Write ref.pick(lambda v: v.id) instead."),
    "private attribute": (lambda ref: ref._id, "it has no attribute '_id'. Write ref.pick(lambda v: v._id) instead."),
    "item": (lambda ref: ref[0], "it has no items. Write ref.pick(lambda v: v[0]) instead."),
    "key": (lambda ref: ref["a"], "it has no items. Write ref.pick(lambda v: v['a']) instead."),
    "assignment": (written, "it cannot be changed. Write transform(ref, lambda v: ...) instead."),
    "assignment to an item": (item_written, "it cannot be changed. Write transform(ref, lambda v: ...) instead."),
    "deletion of an item": (item_deleted, "it cannot be changed. Write transform(ref, lambda v: ...) instead."),
    "deletion": (deleted, "it cannot be changed. Write transform(ref, lambda v: ...) instead."),
    "call": (lambda ref: ref(1), "it cannot be called. Write transform(ref, lambda v: ...) instead."),
    "method": (lambda ref: ref.upper(), "it has no attribute 'upper'. Write ref.pick(lambda v: v.upper) instead."),
    "await": (
        lambda ref: awaited(ref).send(None),
        "it cannot be awaited. Write the ref itself: steps wait for each other instead.",
    ),
}


@pytest.mark.parametrize(("attempt", "sentence"), TRAPS.values(), ids=TRAPS)
def test_a_ref_refuses_whatever_needs_its_value_and_says_what_to_write(
    attempt: Callable[[Any], object], sentence: str
) -> None:
    with pytest.raises(CompositionError) as refused:
        attempt_with(attempt)

    said = str(refused.value)
    assert said.endswith(sentence)
    assert "<ref to the workflow's input> stands for a value that exists only in a run" in said


def test_a_refusal_names_the_file_and_line_of_the_composition() -> None:
    def composition(order: Any) -> None:
        take(order)
        if order:
            take(order)

    with pytest.raises(CompositionError) as refused:
        workflow("refused")(composition)

    line = composition.__code__.co_firstlineno + 2
    assert str(refused.value).startswith(f"tests/unit/workflow/test_refs.py:{line}: ")


def test_a_refusal_names_the_step_that_the_ref_comes_from() -> None:
    with pytest.raises(CompositionError, match=r"<ref to the output of step 'take'\.lines\[0\]> stands"):
        attempt_with(lambda order: bool(take(order).pick(lambda v: v.lines[0])))
    with pytest.raises(CompositionError, match="<ref to the result of 'total'> stands"):
        attempt_with(lambda order: bool(transform(order, len, name="total")))


def test_repr_and_identity_work_and_unknown_dunders_are_attribute_errors() -> None:
    seen: list[object] = []

    def look(order: Any) -> None:
        seen.extend([repr(order), repr(order.pick(lambda o: o.lines[-1].sku)), order is order])  # noqa: PLR0124
        seen.extend([isinstance(order, Ref), hasattr(order, "__html__"), len({order, order})])

    attempt_with(look)

    assert seen == [
        "<ref to the workflow's input>",
        "<ref to the workflow's input.lines[-1].sku>",
        True,
        True,
        False,
        1,
    ]


def test_a_copy_of_a_ref_is_the_ref() -> None:
    copies: list[object] = []

    attempt_with(lambda order: copies.extend([order, copy.copy(order), copy.deepcopy([order])[0]]))

    assert copies[0] is copies[1]
    assert copies[0] is copies[2]


ONLY_FOLLOWS = (
    "only follows attributes and items (pick(lambda v: v.a[0].b)); compute with transform(ref, lambda v: ...)."
)
MISUSES: dict[str, tuple[Callable[[Any], object], str]] = {
    "method": (lambda v: v.id.upper(), ONLY_FOLLOWS),
    "arithmetic": (lambda v: v.total + 1, ONLY_FOLLOWS),
    "arithmetic on the right": (lambda v: 1 + v.total, ONLY_FOLLOWS),
    "comparison": (lambda v: v.total > 1, ONLY_FOLLOWS),
    "equality": (lambda v: v.total == 1, ONLY_FOLLOWS),
    "condition": (lambda v: v.a or v.b, ONLY_FOLLOWS),
    "loop": (lambda v: [each.sku for each in v.lines], ONLY_FOLLOWS),
    "len": (lambda v: len(v.lines), ONLY_FOLLOWS),
    "in": (lambda v: "a" in v.notes, ONLY_FOLLOWS),
    "formatting": (lambda v: f"{v.id}", ONLY_FOLLOWS),
    "str": (lambda v: str(v.id), ONLY_FOLLOWS),
    "int": (lambda v: int(v.id), ONLY_FOLLOWS),
    "hash": (lambda v: {v.id: 1}, ONLY_FOLLOWS),
    "slice": (lambda v: v.lines[1:], "takes an index or a key, not slice; compute with transform(ref, lambda v: ...)."),
    "constant": (lambda _: 1, "returns a part of its argument, not int; compute with transform(ref, lambda v: ...)."),
    "nothing": (lambda _: None, "a part of its argument, not NoneType; compute with transform(ref, lambda v: ...)."),
    "tuple": (lambda v: (v.a, v.b), "a part of its argument, not tuple; compute with transform(ref, lambda v: ...)."),
    "item of a ref": (
        lambda v: v[v.a],
        "an index or a key, not _PathRecorder; compute with transform(ref, lambda v: ...).",
    ),
}


@pytest.mark.parametrize(("path", "sentence"), MISUSES.values(), ids=MISUSES)
def test_pick_only_follows_attributes_and_items(path: Callable[[Any], object], sentence: str) -> None:
    with pytest.raises(CompositionError) as refused:
        attempt_with(lambda order: order.pick(path))

    said = str(refused.value)
    assert said.endswith(sentence)
    assert ": pick on <ref to the workflow's input> " in said
    assert said.startswith("tests/unit/workflow/test_refs.py:")


def test_a_ref_that_pick_returns_from_outside_is_refused() -> None:
    with pytest.raises(CompositionError, match="returns a part of its argument, not Ref"):
        attempt_with(lambda order: order.pick(lambda _: order))


def test_a_ref_of_another_workflow_is_refused() -> None:
    kept: list[Any] = []

    @workflow("lender")
    def _(order: Ref[Order]) -> None:
        kept.append(order)

    for borrow in (take, lambda ref: transform(ref, len), lambda ref: take.named("hidden")([ref])):
        with pytest.raises(CompositionError) as refused:
            attempt_with(lambda _, borrow=borrow: borrow(kept[0]))  # type: ignore[misc]
        assert "tests/unit/workflow/test_refs.py:" in str(refused.value)
    with pytest.raises(
        CompositionError, match="belongs to another workflow's composition; pass its value in as an input"
    ):
        attempt_with(lambda _: take(kept[0]))
