"""The state machines of runs and steps: drawn in the documentation, kept by their records, and bypassed by nobody."""

import ast
import re
from pathlib import Path

import pytest

from daemon import RunStatus, StepState
from daemon.store.model import RUN_TRANSITIONS, STEP_TRANSITIONS, RunRecord, StepRecord

PROJECT = Path(__file__).parents[2]
PAGE = PROJECT / "docs" / "workflows" / "rollback.md"
_DRAWING = re.compile(r"```mermaid\nstateDiagram-v2\n(.*?)```", re.DOTALL)
_ARROW = re.compile(r"^ +(\S+) --> (\w+)(?::|$)", re.MULTILINE)


def drawn(index: int) -> set[tuple[str, str]]:
    """Return the arrows of one of the page's drawings."""
    return set(_ARROW.findall(_DRAWING.findall(PAGE.read_text())[index]))


def run(status: RunStatus, *, root_key: str | None = None) -> RunRecord:
    return RunRecord("key", "shop", "run-1", 1, "w", status, b"", None, "", "", 0, 0, root_key=root_key)


def step(state: StepState) -> StepRecord:
    return StepRecord("key", "charge", 1, "step", state, 1, 0)


def test_what_a_run_may_become_is_what_the_documentation_draws() -> None:
    table = {(before, after) for before, every in RUN_TRANSITIONS.items() for after in every}

    assert drawn(0) == table | {("[*]", "running"), ("[*]", "waiting")}


def test_what_a_step_may_become_is_what_the_documentation_draws() -> None:
    table = {(before, after) for before, every in STEP_TRANSITIONS.items() for after in every}

    assert drawn(1) == table | {("[*]", "running"), ("[*]", "waiting")}


@pytest.mark.parametrize("before", RunStatus)
@pytest.mark.parametrize("after", RunStatus)
def test_a_run_becomes_what_the_table_says_or_stays_what_it_is(before: RunStatus, after: RunStatus) -> None:
    record = run(before, root_key="root")

    if after is before or after in RUN_TRANSITIONS[before]:
        record.become(after)
        assert record.status is after
    else:
        with pytest.raises(AssertionError, match=f"run 'run-1' is {before} and cannot become {after}"):
            record.become(after)
        assert record.status is before


@pytest.mark.parametrize("before", StepState)
@pytest.mark.parametrize("after", StepState)
def test_a_step_becomes_what_the_table_says_or_stays_what_it_is(before: StepState, after: StepState) -> None:
    record = step(before)

    if after is before or after in STEP_TRANSITIONS[before]:
        record.become(after)
        assert record.state is after
    else:
        with pytest.raises(AssertionError, match=f"step 'charge' is {before} and cannot become {after}"):
            record.become(after)
        assert record.state is before


def test_only_a_child_that_has_completed_is_rolled_back() -> None:
    for after in RUN_TRANSITIONS[RunStatus.COMPLETED]:
        with pytest.raises(AssertionError, match="is completed and cannot become"):
            run(RunStatus.COMPLETED).become(after)


def test_a_run_that_has_ended_otherwise_is_only_taken_up_again_by_a_retry() -> None:
    after = {status: RUN_TRANSITIONS[status] for status in RunStatus if status.ended and status != "completed"}

    assert after == {
        RunStatus.REVERTED: frozenset(),
        RunStatus.FAILED: {RunStatus.COMPENSATING},
        RunStatus.CANCELLED: frozenset(),
    }


def test_the_engine_changes_states_in_no_other_way() -> None:
    assigned = [
        f"{path.name}:{node.lineno}"
        for path in sorted((PROJECT / "daemon" / "engine").glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and node.attr in ("state", "status")
    ]

    assert assigned == []
