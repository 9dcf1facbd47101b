"""`sagad check --in-flight`."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.unit.cli.application import WORKFLOWS, write
from tests.unit.cli.conftest import Sagad

AFTER = WORKFLOWS.replace('@step("hang")', '@step("wait")')


def _start(sagad: Sagad, *run_ids: str) -> None:
    for run_id in run_ids:
        assert sagad("workflow", "run", "hanging", "--no-wait", "--run-id", run_id).status == 0


def test_code_that_has_all_that_runs_need_is_well(folder: Path, sagad: Sagad) -> None:
    _start(sagad, "h1")
    sagad("workflow", "run", "welcome", '{"name": "Ada"}')
    write(folder, "workflows/welcome.py", WORKFLOWS.replace("    hang()\n", "    hang()\n    break_()\n"))

    done = sagad("check", "--in-flight")

    assert (done.status, done.out, done.err) == (0, "shop: 1 run in flight, none would be held.\n", "")
    assert sagad("check", "--in-flight", "--json").document == {"app": "shop", "runs": 1, "held": 0, "groups": []}


def test_runs_that_would_be_held_are_grouped_and_told_with_their_reasons(folder: Path, sagad: Sagad) -> None:
    _start(sagad, "h1", "h2", "h3", "h4")
    before = sagad("runs", "show", "h1", "--json").document
    write(folder, "workflows/welcome.py", AFTER)

    done = sagad("check", "--in-flight")
    report = sagad("check", "--in-flight", "--json")

    assert (done.status, report.status) == (1, 1)
    words = " ".join(done.out.split())
    assert "WORKFLOW GRAPH RUNS WHY FOR EXAMPLE" in words
    assert "4 step 'hang' is missing h1, h2, h3" in words
    assert words.endswith("shop: 4 runs in flight, 4 would be held.")
    (group,) = json.loads(report.out)["groups"]
    assert {name: group[name] for name in ("workflow", "why", "count", "runs")} == {
        "workflow": "hanging",
        "why": ["step 'hang' is missing"],
        "count": 4,
        "runs": ["h1", "h2", "h3"],
    }
    assert sagad("runs", "show", "h1", "--json").document == before


def test_runs_of_a_workflow_that_is_gone_would_be_held(folder: Path, sagad: Sagad) -> None:
    _start(sagad, "h1")
    write(folder, "workflows/welcome.py", WORKFLOWS.partition('@workflow("hanging")')[0])

    done = sagad("check", "--in-flight")

    assert done.status == 1
    assert "workflow 'hanging' is missing" in done.out


def test_where_nothing_ever_ran_nothing_is_in_flight_and_nothing_is_made(folder: Path, sagad: Sagad) -> None:
    done = sagad("check", "--in-flight")

    assert (done.status, done.out) == (0, "shop: nothing was stored yet, so there is nothing to check.\n")
    assert not (folder / "var").exists()


def test_a_database_of_an_older_version_is_left_as_it_is(folder: Path, sagad: Sagad) -> None:
    (folder / "var").mkdir()
    path = folder / "var" / "sagad.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")

    done = sagad("check", "--in-flight")

    assert done.status == 1
    assert "has version 0 of the schema, and this sagad reads version " in done.err
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
