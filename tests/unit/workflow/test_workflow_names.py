"""A workflow's name is its identity: kebab-case, and of one graph at a time."""

import gc
import importlib.util
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from daemon import CompositionError, DefinitionError, Ref, workflow
from tests.unit.workflow.attempts import Order, charge, count, line_of


def with_a_count() -> None:
    count()


def refused(fn: Any, name: str) -> str:
    """Return why a composition is refused."""
    with pytest.raises(CompositionError) as error:
        workflow(name)(fn)
    return str(error.value)


def test_one_name_with_another_graph_is_refused_and_both_places_are_named() -> None:
    def first() -> None:
        count()

    def second(order: Ref[Order]) -> None:
        charge(order)

    kept = workflow("defined-twice")(first)

    assert refused(second, "defined-twice") == (
        f"Workflow 'defined-twice' is defined twice with different graphs: at {line_of(first)} and at "
        f"{line_of(second)}. Give one of them another name."
    )
    assert kept.name == "defined-twice"


def test_one_name_with_the_same_graph_is_fine() -> None:
    first = workflow("defined-again")(with_a_count)
    second = workflow("defined-again")(with_a_count)

    assert first.graph.hash == second.graph.hash


def test_options_are_part_of_a_graph() -> None:
    def patient() -> None:
        count.options(timeout=timedelta(seconds=1))()

    kept = workflow("defined-with-options")(with_a_count)

    assert "is defined twice with different graphs" in refused(patient, "defined-with-options")
    assert kept.name == "defined-with-options"


def test_a_workflow_that_nobody_keeps_does_not_count_even_as_part_of_a_cycle() -> None:
    def first() -> None:
        count()

    def second(order: Ref[Order]) -> None:
        charge(order)

    gc.disable()
    try:
        forgotten: Any = workflow("forgotten")(first)
        forgotten.itself = forgotten
        del forgotten

        kept = workflow("forgotten")(second)
    finally:
        gc.enable()

    assert [node.name for node in kept.graph.steps()] == ["charge"]


def test_a_module_that_is_imported_again_defines_its_workflows_again(tmp_path: Path) -> None:
    path = tmp_path / "reloaded_workflows.py"
    path.write_text(
        "from daemon import step, transform, workflow\n\n\n"
        '@step("count")\nasync def count() -> int:\n    return 1\n\n\n'
        '@workflow("reloaded")\ndef reloaded():\n    return transform(count(), lambda c: c + 1)\n'
    )

    def load() -> Any:
        spec = importlib.util.spec_from_file_location("reloaded_workflows", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    first, second = load(), load()

    assert "reloaded_workflows" not in sys.modules
    assert first.reloaded.graph.hash == second.reloaded.graph.hash


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "Place Order",
            "'Place Order' is no name for a workflow: use at most 100 lower-case letters, digits and single dashes",
        ),
        ("placeOrder", "like 'place-order'."),
        ("place_order", "like 'place-order'."),
        ("-place", "like 'place'."),
        ("", "digits and single dashes."),
        ("é", "digits and single dashes."),
        ("a" * 101, "digits and single dashes, like"),
        (with_a_count, 'workflow needs a name: write @workflow("with-a-count").'),
    ],
    ids=["words", "camel", "snake", "dash first", "empty", "no letter", "long", "no name"],
)
def test_a_name_is_kebab_case(name: Any, sentence: str) -> None:
    with pytest.raises(DefinitionError) as error:
        workflow(name)

    assert sentence in str(error.value)


def test_a_workflows_timeout_is_above_zero() -> None:
    with pytest.raises(
        DefinitionError,
        match=r"a workflow's timeout is above zero and at most 100 years, not 0:00:00; leave it out for none\.",
    ):
        workflow("no-time", timeout=timedelta(0))
