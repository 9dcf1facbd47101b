"""`sagad workflow`."""

from xml.etree import ElementTree as ET

import pytest

from tests.unit.cli.conftest import Sagad


def test_workflows_are_listed_with_what_they_take(sagad: Sagad) -> None:
    found = sagad("workflow", "list", "--json").document
    shown = sagad("workflow", "list")

    assert [(each["name"], each["input"], each["steps"]) for each in found] == [
        ("welcome", "Person", ["reserve", "greet", "count"]),
        ("broken", "Person", ["reserve", "break"]),
        ("hanging", None, ["hang"]),
    ]
    assert shown.out.splitlines()[0].split() == ["WORKFLOW", "INPUT", "STEPS", "WHERE"]


def test_a_workflow_is_run_and_its_result_printed(sagad: Sagad) -> None:
    given = sagad("workflow", "run", "welcome", '{"name": "Ada"}', "--run-id", "r1")
    again = sagad("workflow", "run", "welcome", '{"name": "Ada"}', "--run-id", "r1").document

    assert (given.status, given.out, given.err) == (0, '"hello, Ada (3)"\n', "")
    assert again == "hello, Ada (3)"


def test_a_run_that_fails_is_told_in_one_sentence(sagad: Sagad) -> None:
    done = sagad("workflow", "run", "broken", '{"name": "Ada"}', "--run-id", "r1")

    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("Workflow 'broken' (run 'r1') failed at 'break'")
    assert done.err.endswith("RuntimeError: out of order; rolled back: reserve.\n")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["welcom", "{}"], "No workflow is named 'welcom'. Did you mean 'welcome'?"),
        (["welcome"], "'welcome' takes an input of type Person"),
        (["welcome", '{"age": "old"}'], "The input does not fit Person: name: Field required"),
        (["hanging", "{}"], "'hanging' takes no input."),
    ],
)
def test_a_run_that_cannot_be_started_is_a_wrong_call(arguments: list[str], said: str, sagad: Sagad) -> None:
    done = sagad("workflow", "run", *arguments)

    assert (done.status, done.out) == (2, "")
    assert said in done.err


def test_a_run_is_only_started_where_nobody_waits(sagad: Sagad) -> None:
    started = sagad("workflow", "run", "hanging", "--no-wait", "--run-id", "h1")
    other = sagad("workflow", "run", "hanging", "--no-wait", "--run-id", "h2", "--json").document
    found = sagad("runs", "list", "--workflow", "hanging", "--json").document

    assert (started.status, started.out, started.err) == (0, "h1\n", "")
    assert other == {"run_id": "h2"}
    assert [(each["run_id"], each["status"]) for each in found["items"]] == [("h2", "running"), ("h1", "running")]


def test_a_graph_is_drawn_in_every_format(sagad: Sagad) -> None:
    mermaid = sagad("workflow", "graph", "welcome").out
    dot = sagad("workflow", "graph", "welcome", "--format", "dot").out
    svg = sagad("workflow", "graph", "welcome", "--format", "svg").out
    described = sagad("workflow", "graph", "welcome", "--json").document

    assert mermaid.startswith("flowchart TD\n")
    assert dot.startswith('digraph "welcome" {\n')
    assert ET.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - we made it
    assert described["workflow"] == "welcome"
