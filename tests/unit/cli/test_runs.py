"""`sagad runs`."""

import json
from pathlib import Path

from tests.unit.cli.application import write
from tests.unit.cli.conftest import Sagad

STUCK = """
from daemon import Retry, step, workflow


@step("reserve", compensation_retry=Retry.never())
async def reserve() -> str:
    return "r"


@reserve.compensate
async def release(_: str) -> None:
    raise OSError("not yet")


@step("break")
async def break_() -> None:
    raise RuntimeError("out of order")


@workflow("stuck")
def stuck() -> None:
    reserve()
    break_()
"""


def test_runs_are_listed_newest_first_filtered_and_in_pages(sagad: Sagad) -> None:
    for number in (1, 2, 3):
        sagad("workflow", "run", "welcome", f'{{"name": "n{number}"}}', "--run-id", f"r{number}")
    sagad("workflow", "run", "broken", '{"name": "x"}', "--run-id", "b1")

    def ids(*filters: str) -> list[str]:
        return [each["run_id"] for each in sagad("runs", "list", "--json", *filters).document["items"]]

    first = sagad("runs", "list", "--json", "--limit", "3").document
    rest = sagad("runs", "list", "--json", "--limit", "3", "--after", first["next"]).document
    assert [each["run_id"] for each in first["items"]] == ["b1", "r3", "r2"]
    assert ([each["run_id"] for each in rest["items"]], rest["next"]) == (["r1"], None)
    assert ids("--workflow", "broken") == ["b1"]
    assert ids("--status", "reverted") == ["b1"]
    assert ids("--trigger", "call") == ["b1", "r3", "r2", "r1"]
    assert ids("--text", "out of order") == ["b1"]
    assert ids("--since", "2020-01-01", "--text", "n2") == ["r2"]
    assert ids("--since", "2199-01-01T00:00:00Z") == []


def test_runs_are_a_table_for_people_and_nothing_is_said_on_stdout_where_there_are_none(sagad: Sagad) -> None:
    none = sagad("runs", "list")
    sagad("workflow", "run", "broken", '{"name": "x"}', "--run-id", "b1")
    some = sagad("runs", "list")

    assert (none.status, none.out, none.err) == (0, "", "No such runs.\n")
    header, row = some.out.splitlines()
    assert header.split("  ")[0] == "RUN"
    assert row.split()[:3] == ["b1", "broken", "reverted"]
    assert row.endswith("RuntimeError: out of order")


def test_a_run_is_shown_with_its_steps_and_errors(sagad: Sagad) -> None:
    sagad("workflow", "run", "broken", '{"name": "x"}', "--run-id", "b1")

    found = sagad("runs", "show", "b1", "--json").document
    shown = sagad("runs", "show", "b1").out

    assert (found["status"], found["compensated"], found["input"]) == ("reverted", ["reserve"], {"name": "x", "age": 0})
    assert [(each["name"], each["state"]) for each in found["steps"].values()] == [
        ("reserve", "compensated"),
        ("break", "failed"),
    ]
    assert "RuntimeError: out of order" in shown
    assert "Traceback (most recent call last):" in shown


def test_a_run_is_watched_until_it_has_ended(sagad: Sagad) -> None:
    sagad("workflow", "run", "broken", '{"name": "x"}', "--run-id", "b1")

    watched = sagad("runs", "watch", "b1")
    documents = [json.loads(line) for line in sagad("runs", "watch", "b1", "--json").out.splitlines()]
    nobody = sagad("runs", "watch", "nobody")

    assert (watched.status, watched.err) == (0, "")
    assert [line.split("  ")[1:] for line in watched.out.splitlines()] == [
        ["reserve", "compensated"],
        ["break", "failed"],
        ["b1", "reverted"],
    ]
    assert [(each["step"], each["state"]) for each in documents] == [
        ("reserve", "compensated"),
        ("break", "failed"),
        (None, "reverted"),
    ]
    assert (nobody.status, nobody.out, nobody.err) == (1, "", "No run has the id 'nobody'.\n")


def test_a_run_that_is_not_there_fails_with_a_sentence(sagad: Sagad) -> None:
    done = sagad("runs", "show", "nobody")

    assert (done.status, done.out, done.err) == (1, "", "No run has the id 'nobody'.\n")


def test_a_run_that_nobody_drives_is_cancelled_for_the_next_daemon(sagad: Sagad) -> None:
    sagad("workflow", "run", "hanging", "--run-id", "h1", "--no-wait")

    asked = sagad("runs", "cancel", "h1")
    again = sagad("runs", "cancel", "h1", "--json").document

    assert (asked.status, asked.out, asked.err) == (0, "Run h1 is to be cancelled; it was running.\n", "")
    assert (again["run_id"], again["status"]) == ("h1", "running")


def test_a_run_that_has_ended_cannot_be_cancelled(sagad: Sagad) -> None:
    sagad("workflow", "run", "broken", '{"name": "x"}', "--run-id", "b1")

    done = sagad("runs", "cancel", "b1")
    nobody = sagad("runs", "cancel", "nobody")

    assert (done.status, done.out) == (1, "")
    assert done.err == "Run 'b1' cannot be cancelled: it has ended, reverted.\n"
    assert (nobody.status, nobody.err) == (1, "No run has the id 'nobody'.\n")


def test_a_run_is_run_once_more_in_the_next_daemon(sagad: Sagad) -> None:
    sagad("workflow", "run", "welcome", '{"name": "Ada"}', "--run-id", "r1")

    asked = sagad("runs", "rerun", "r1")
    found = sagad("runs", "show", "r1", "--json").document
    again = sagad("runs", "rerun", "r1")

    assert (asked.status, asked.out, asked.err) == (0, "Run r1 is run once more, as attempt 2.\n", "")
    assert (found["attempt"], found["status"], found["steps"]) == (2, "running", {})
    assert (again.status, again.out) == (1, "")
    assert again.err == (
        "Run 'r1' cannot be rerun: only a run that has ended can be, and attempt 2 of it is running.\n"
    )


def test_a_run_is_run_once_more_from_a_step_with_an_edited_input(sagad: Sagad) -> None:
    sagad("workflow", "run", "welcome", '{"name": "Ada"}', "--run-id", "r1")
    sagad("workflow", "run", "broken", '{"name": "x"}', "--run-id", "b1")

    wrong = sagad("runs", "rerun", "r1", "--from-step", "count", "--input", "5")
    misfit = sagad("runs", "rerun", "r1", "--input", "{}")
    unknown = sagad("runs", "rerun", "r1", "--from-step", "cuont")
    undone = sagad("runs", "rerun", "b1", "--from-step", "break")
    shown = sagad("runs", "rerun", "r1", "--from-step", "count", "--input", '"Eve"', "--json").document

    assert (wrong.status, misfit.status) == (2, 2)
    assert "does not fit str" in " ".join(wrong.err.split())
    assert "does not fit Person: name: Field required" in " ".join(misfit.err.split())
    assert unknown.status == 1
    assert unknown.err == (
        "Run 'r1' cannot be rerun from 'cuont': workflow 'welcome' has no such step. Did you mean 'count'? There are: "
        "reserve, greet, count.\n"
    )
    assert (undone.status, undone.err.count("\n")) == (1, 1)
    assert "'reserve', which comes before it, was undone" in undone.err
    assert (shown["attempt"], list(shown["steps"])) == (2, ["reserve", "greet"])


def test_a_rollback_that_gave_up_goes_on_in_the_next_daemon(sagad: Sagad, folder: Path) -> None:
    write(folder, "workflows/stuck.py", STUCK)
    sagad("workflow", "run", "stuck", "--run-id", "s1")

    failed = sagad("runs", "show", "s1", "--json").document
    asked = sagad("runs", "retry", "s1")
    found = sagad("runs", "show", "s1", "--json").document
    again = sagad("runs", "retry", "s1")

    assert (failed["status"], len(failed["errors"])) == ("failed", 2)
    assert (asked.status, asked.out, asked.err) == (0, "Run s1 goes on with its rollback.\n", "")
    assert (found["status"], [each["step"] for each in found["errors"]]) == ("compensating", ["break"])
    assert (again.status, again.out) == (1, "")
    assert again.err == ("Run 's1' cannot be retried: only a rollback that gave up can be, and it is compensating.\n")
