"""Graphs of chance, and graphs by hand with every choice of what fails: what is seen is what a small model says."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import combinations, permutations
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings

from daemon.store.memory import MemoryStore
from daemon.store.port import Store
from tests.contract.engine.chance import choices, plans, stops
from tests.contract.engine.lockstep import Stop, perform
from tests.contract.engine.model import Model
from tests.contract.engine.plan import CONTINUE, Child, Loop, Node, Parallel, Step, Transform, Wait, When

ON_ONE_STORE = [HealthCheck.function_scoped_fixture]  # every example has a workflow and a run of its own
FIRST, LAST = [0], [-1]  # of what goes on, the one that ends next


@settings(deadline=None, max_examples=200, derandomize=True, suppress_health_check=ON_ONE_STORE)
@given(nodes=plans(), which=choices, stop=stops)
async def test_what_is_seen_of_a_run_is_what_the_model_says(
    store: Store, nodes: tuple[Node, ...], which: list[int], stop: Stop
) -> None:
    seen, told = await perform(nodes, store, which, stop)

    assert seen == told


A, B, C, D, E = (Step(name) for name in "abcde")
SHAPES: dict[str, tuple[Node, ...]] = {
    "a sequence": (A, B, C, D),
    "a group": (A, Parallel("group", (B, C, D)), E),
    "two groups": (Parallel("group-1", (A, B)), Parallel("group-2", (C, D))),
    "a loop, one at a time": (A, Loop(B, (("ok",),) * 3, 1), C),
    "a loop, two at a time": (A, Loop(B, (("ok",),) * 4, 2), C),
    "a loop beside a step": (A, Parallel("group", (B, Loop(C, (("ok",),) * 2, 1))), D),
    "a condition": (A, When("when", True, (B, C)), D),  # noqa: FBT003 - whether it holds
    "the other case": (A, When("when", False, (B,), (C, Parallel("group", (D, E))))),  # noqa: FBT003
    "a group in a condition in a condition": (
        When("when-1", True, (A, When("when-2", True, (Parallel("group", (B, C)),)))),  # noqa: FBT003
        D,
    ),
    "a child": (A, Child("child", (B, C)), D),
    "children at the same time": (A, Parallel("group", (Child("child-1", (B, C)), Child("child-2", (D, E))))),
    "a child with nothing to undo": (A, Child("child", (replace(B, undo=()), Transform("compute"))), C),
    "a child of a child beside a step": (Parallel("group", (Child("outer", (A, Child("inner", (B, C)))), D)), E),
    "an event that comes after a step": (A, Wait("paid"), B),
    "events in children beside a step": (
        A,
        Parallel("group", (Child("child-1", (B, Wait("paid"), C)), Child("child-2", (Wait("sent"),)), D)),
        E,
    ),
    "a step that the run goes on without": (A, replace(B, on_failure=CONTINUE), C, D),
    "a step that skips out of its block": (
        A,
        When("when", True, (replace(B, on_failure="e"), C)),  # noqa: FBT003
        Parallel("group", (D,)),
        E,
    ),
}


@pytest.mark.parametrize("order", [FIRST, LAST], ids=["first-first", "last-first"])
@pytest.mark.parametrize("shape", SHAPES)
async def test_whichever_steps_and_compensations_fail_what_is_seen_is_what_the_model_says(
    shape: str, order: list[int]
) -> None:
    nodes = SHAPES[shape]

    for failing, stuck in _choices(nodes):
        seen, told = await perform(_with(nodes, failing, stuck), MemoryStore(), order)

        assert seen == told, (failing, stuck)


@pytest.mark.parametrize("how", ["cancel", "timeout"])
@pytest.mark.parametrize("shape", SHAPES)
async def test_whenever_a_run_is_stopped_what_is_seen_is_what_the_model_says(
    shape: str, how: Literal["cancel", "timeout"]
) -> None:
    nodes = SHAPES[shape]

    for at in range(len(_started(nodes))):
        seen, told = await perform(nodes, MemoryStore(), FIRST, (how, at))

        assert (seen, seen["status"]) == (told, "cancelled" if how == "cancel" else "reverted"), at


@pytest.mark.parametrize("how", ["cancel", "timeout"])
@pytest.mark.parametrize("shape", SHAPES)
async def test_whenever_a_run_that_fails_is_stopped_what_is_seen_is_what_the_model_says(
    shape: str, how: Literal["cancel", "timeout"]
) -> None:
    for failing in _started(SHAPES[shape]):
        nodes = _with(SHAPES[shape], {failing}, set())

        for at in range(2 * len(_started(nodes))):
            seen, told = await perform(nodes, MemoryStore(), FIRST, (how, at))

            assert seen == told, (failing, at)


def _choices(nodes: tuple[Node, ...]) -> Iterator[tuple[set[str], set[str]]]:
    """Iterate over the steps that fail and those that cannot be undone: up to two steps, or one of each."""
    names = _started(nodes)
    for many in range(3):
        for failing in combinations(names, many):
            yield set(failing), set()
    for failing_one, stuck in permutations(names, 2):
        yield {failing_one}, {stuck.partition("[")[0]}


def _started(nodes: tuple[Node, ...]) -> list[str]:
    """Return the steps that run if none fails."""
    model = Model(nodes)
    while model.going:
        model.end(next(iter(model.going)))
    return [name for run in model.run.family() for name in run.states if name not in run.children]


def _with(nodes: Iterable[Node], failing: set[str], stuck: set[str]) -> tuple[Any, ...]:
    """Return a plan in which these steps fail, and those cannot be undone."""
    return tuple(_changed(node, failing, stuck) for node in nodes)


def _changed(node: Node, failing: set[str], stuck: set[str]) -> Node:
    match node:
        case Step():
            return _broken(node, failing, stuck)
        case Loop():
            gives = tuple(_broken(call, failing, set()).gives for call in node.calls)
            return replace(node, step=_broken(node.step, set(), stuck), items=gives)
        case When(nodes=nodes, otherwise=otherwise):
            return replace(node, nodes=_with(nodes, failing, stuck), otherwise=_with(otherwise, failing, stuck))
        case Child(nodes=nodes):
            return replace(node, nodes=_with(nodes, failing, stuck))
        case Parallel(members=members):
            return replace(node, members=_with(members, failing, stuck))
        case Transform() | Wait():
            return node


def _broken(step: Step, failing: set[str], stuck: set[str]) -> Step:
    step = replace(step, gives=("fail",)) if step.name in failing else step
    return replace(step, undo=("fail",)) if step.name in stuck else step
