"""`sagad runs complete-step` and `fail-step`."""

import asyncio
import json
from pathlib import Path

import pytest

from daemon import WorkflowEngine, open_container
from daemon.workflow.port import RunOptions
from tests.unit.cli.application import write
from tests.unit.cli.conftest import Sagad

ASKING = """
from datetime import date

from daemon import Ref, for_each, step, workflow


@step("ask", external=True)
async def ask(question: str) -> date:
    return date.min


@workflow("asking")
def asking(questions: Ref[list[str]]) -> Ref[list[date]]:
    return for_each(questions, ask)
"""


@pytest.fixture
def asked(sagad: Sagad, folder: Path) -> Sagad:
    """The command, on an application with a run that waits for `ask[0]` and `ask[1]`."""
    write(folder, "workflows/asking.py", ASKING)

    async def ask() -> None:
        async with open_container(folder / "config.toml") as container:
            engine = await container.aget(WorkflowEngine)
            await engine.execute(engine.workflows["asking"], ["when?", "until when?"], RunOptions("q-1"))

    asyncio.run(ask())
    sagad("runs", "list")
    return sagad


def test_an_output_is_reported_and_only_once(asked: Sagad) -> None:
    first = asked("runs", "complete-step", "q-1", "ask[0]", '"2026-01-02"')
    again = asked("runs", "complete-step", "q-1", "ask[0]", '"2026-01-02"')
    shown = asked("runs", "complete-step", "q-1", "ask[1]", '"2026-01-03"', "--json").document

    assert (first.status, first.out, first.err) == (0, "Step ask[0] of run q-1 is completed.\n", "")
    assert (again.status, again.out) == (1, "")
    assert again.err == "Step 'ask[0]' of run 'q-1' waits for no report: its outcome was reported already.\n"
    assert (shown["run_id"], shown["status"]) == ("q-1", "waiting")


def test_an_output_that_does_not_fit_is_a_wrong_call(asked: Sagad) -> None:
    wrong = asked("runs", "complete-step", "q-1", "ask[0]", '"soon"')
    none = asked("runs", "complete-step", "q-1", "ask[0]")
    no_json = asked("runs", "complete-step", "q-1", "ask[0]", "soon")

    assert wrong.status == none.status == no_json.status == 2
    assert wrong.out == none.out == no_json.out == ""
    assert "does not fit date" in " ".join(wrong.err.split())
    assert "does not fit date" in " ".join(none.err.split())
    assert "is no JSON" in " ".join(no_json.err.split())


def test_a_failure_is_reported(asked: Sagad) -> None:
    told = asked("runs", "fail-step", "q-1", "ask[1]", "nobody knows")
    again = asked("runs", "fail-step", "q-1", "ask[1]", "really")
    shown = json.loads(asked("runs", "fail-step", "q-1", "ask[0]", "either", "--json").out)

    assert (told.status, told.out, told.err) == (0, "Step ask[1] of run q-1 is reported as failed.\n", "")
    assert (again.status, again.err.count("\n")) == (1, 1)
    assert shown["run_id"] == "q-1"


@pytest.mark.parametrize("report", [["complete-step"], ["fail-step"]])
def test_a_run_that_is_not_there_has_no_steps(sagad: Sagad, report: list[str]) -> None:
    done = sagad("runs", *report, "nobody", "ask", '"why"')

    assert (done.status, done.out, done.err) == (1, "", "No run has the id 'nobody'.\n")
