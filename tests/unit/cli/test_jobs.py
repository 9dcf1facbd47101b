"""`sagad jobs`."""

import getpass
from pathlib import Path

import pytest

from tests.unit.cli.application import CONFIG, write
from tests.unit.cli.conftest import Sagad, Said

MORE = """
from daemon import Ref, Schedule, job, step, workflow


@job("0 0 * * *", name="silent")
async def silent() -> None:
    pass


@step("tidy")
async def tidy(days: int) -> None:
    pass


@workflow("tidy-up", schedule=Schedule("0 4 * * *", data=3, overlap="queue"))
def tidy_up(days: Ref[int]) -> None:
    tidy(days)
"""


@pytest.fixture
def jobs(sagad: Sagad, folder: Path) -> Sagad:
    """`sagad jobs`, on an application with a job, one that is turned off, and one that starts a workflow."""
    write(folder, "config.toml", CONFIG + "[jobs.silent]\nenabled = false\n")
    write(folder, "jobs/more.py", MORE)

    def call(*arguments: str, **environ: str) -> Said:
        return sagad("jobs", *arguments, **environ)

    return call


def words(text: str) -> str:
    return " ".join(text.split())


def test_jobs_are_listed_with_when_they_fire_next(jobs: Sagad) -> None:
    shown = jobs("list")
    found = jobs("list", "--json").document

    assert shown.status == 0
    assert shown.out.startswith("JOB ")
    assert "nightly 30 2 * * * active" in words(shown.out)
    assert "silent 0 0 * * * disabled - UTC - - -" in words(shown.out)
    assert [(each["name"], each["workflow"], each["state"]) for each in found] == [
        ("nightly", None, "active"),
        ("silent", None, "disabled"),
        ("tidy-up", "tidy-up", "active"),
    ]
    assert [len(each["next"]) for each in found] == [3, 0, 3]


def test_a_pause_says_who_and_why_until_it_is_resumed(jobs: Sagad) -> None:
    paused = jobs("pause", "nightly", "--by", "ann", "--reason", "the disk is full")
    shown = jobs("list")
    resumed = jobs("resume", "nightly")
    orders = jobs("history", "nightly", "--orders", "--json").document["items"]

    assert paused.out.startswith("Job nightly is paused, since ")
    assert paused.out.endswith(" UTC by ann: the disk is full.\n")
    assert "nightly 30 2 * * * paused, since" in words(shown.out)
    assert resumed.out.startswith("Job nightly is not paused: it is active; next: ")
    assert [(each["action"], each["by"], each["reason"]) for each in orders] == [
        ("resume", getpass.getuser(), ""),
        ("pause", "ann", "the disk is full"),
    ]


def test_a_triggered_firing_is_in_the_history_until_a_daemon_comes(jobs: Sagad) -> None:
    told = jobs("trigger", "tidy-up", "--by", "ann", "--reason", "try it")
    firing = jobs("trigger", "tidy-up", "--json").document
    shown = jobs("history", "tidy-up")
    first = jobs("history", "tidy-up", "--limit", "1", "--json").document
    rest = jobs("history", "tidy-up", "--after", first["next"], "--json").document

    assert told.out.startswith("Job tidy-up is to fire: ")
    assert (firing["state"], firing["trigger"]) == ("waiting", "manual")
    assert "waiting manual - - - ann: try it" in words(shown.out)
    assert first["items"] == [firing]
    assert ([each["by"] for each in rest["items"]], rest["next"]) == (["ann"], None)


def test_what_cannot_be_ordered_is_one_sentence_and_status_1(jobs: Sagad) -> None:
    jobs("trigger", "nightly")
    again, off, unknown = jobs("trigger", "nightly"), jobs("trigger", "silent"), jobs("pause", "nigthly")

    assert [(each.status, each.out) for each in (again, off, unknown)] == [(1, "")] * 3
    assert again.err == (
        "Job 'nightly' is not triggered: a firing of it runs or waits, and its overlap is 'skip'. "
        "`sagad jobs history nightly` shows them.\n"
    )
    assert off.err == "Job 'silent' is turned off by the configuration: take out jobs.silent.enabled = false first.\n"
    assert unknown.err == "No job has the name 'nigthly'. Did you mean 'nightly'?\n"


def test_an_empty_history_says_so(jobs: Sagad) -> None:
    assert jobs("history", "nightly").err == "No such firings.\n"
    assert jobs("history", "nightly", "--orders").err == "Nobody ordered anything of it.\n"


@pytest.mark.parametrize(
    "wrong", [("history", "nightly", "--after", "x"), ("pause", "nightly", "--reason", "two\nlines")]
)
def test_a_wrong_call_is_status_2(jobs: Sagad, wrong: tuple[str, ...]) -> None:
    assert jobs(*wrong).status == 2
