"""Workflows that start by themselves: a job for each schedule."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from daemon import ConfigurationError
from daemon.clock import ManualClock
from daemon.declared import declared_jobs
from daemon.discovery import discover
from daemon.testing import Harness
from daemon.testing.apart import imports_apart
from tests.unit.testing.folders import application

NIGHT = """
from datetime import timedelta

from pydantic import BaseModel

from daemon import Ref, Retry, Schedule, StepContext, sleep, step, workflow


class Report(BaseModel):
    kind: str


@step("write")
async def write(report: Report, ctx: StepContext) -> str:
    if ctx.options.get("fails"):
        raise ConnectionError("no paper")
    return f"{report.kind} of {ctx.trigger.name}"


@workflow("report", schedule=Schedule("0 3 * * *", data=Report(kind="daily"), retry=Retry(max_attempts=2)))
def report(wanted: Ref[Report]) -> Ref[str]:
    return write(wanted)


@workflow("nap", schedule=Schedule(timedelta(hours=1), name="hourly-nap", max_runs=2))
def nap() -> None:
    sleep(timedelta(hours=2))
"""


def finished(app: Harness, job: str) -> list[tuple[object, object]]:
    return [
        (line["outcome"], line["attempt"]) for line in app.log if line["event"] == "job_finished" and line["job"] == job
    ]


async def test_a_workflow_starts_when_it_is_due_with_the_data_of_its_schedule(tmp_path: Path) -> None:
    async with Harness(application(tmp_path, workflows__night=NIGHT)) as app:
        await app.advance(timedelta(hours=3, minutes=1))

        [run] = app.runs(workflow="report")
        assert (run.status, run.result) == ("completed", "daily of report")
        assert run.run_id.startswith("report:report:")
        assert (run.trigger.kind, run.trigger.name, run.trigger.id) == ("job", "report", "2026-01-01T03:00:00+00:00")
        assert finished(app, "report") == [("ok", 1)]


async def test_each_firing_is_a_run_of_its_own(tmp_path: Path) -> None:
    async with Harness(application(tmp_path, workflows__night=NIGHT)) as app:
        await app.advance(timedelta(days=3))

        runs = app.runs(workflow="report")
        assert [run.status for run in runs] == ["completed"] * 3
        assert len({run.run_id for run in runs}) == 3


async def test_a_firing_whose_run_is_parked_has_ended_and_the_next_does_not_wait_for_it(tmp_path: Path) -> None:
    async with Harness(application(tmp_path, workflows__night=NIGHT)) as app:
        await app.advance(timedelta(hours=2, minutes=30))
        first, second = (run.status for run in app.runs(workflow="nap"))
        outcomes = finished(app, "hourly-nap")
        await app.advance(timedelta(hours=10))

        assert (first, second) == ("waiting", "waiting")
        assert outcomes == [("parked", 1), ("parked", 1)]
        assert [run.status for run in app.runs(workflow="nap")] == ["completed", "completed"]  # max_runs=2


async def test_a_firing_whose_run_fails_is_tried_again_as_the_same_run(tmp_path: Path) -> None:
    folder = application(tmp_path, config="[options.report]\nfails = true\n", workflows__night=NIGHT)

    async with Harness(folder) as app:
        await app.advance(timedelta(hours=4))

        first, second = app.runs(workflow="report")
        assert first.run_id == second.run_id
        assert (first.attempt, second.attempt, second.status) == (1, 2, "reverted")
        assert finished(app, "report") == [("failed", 2)]


async def test_the_configuration_has_the_last_word_on_when_a_workflow_starts(tmp_path: Path) -> None:
    config = '[jobs.report]\nschedule = "30 1 * * *"\ntimezone = "Asia/Tokyo"\n[jobs.hourly-nap]\nenabled = false\n'
    clock = ManualClock(datetime(2026, 3, 1, 12, tzinfo=UTC))

    async with Harness(application(tmp_path, config=config, workflows__night=NIGHT), clock=clock) as app:
        await app.advance(timedelta(days=1))

        [run] = app.runs()
        assert run.trigger.id == "2026-03-01T16:30:00+00:00"


async def test_a_table_for_a_workflow_that_no_schedule_starts_is_a_mistake(tmp_path: Path) -> None:
    folder = application(tmp_path, config="[jobs.nap]\nenabled = false\n", workflows__night=NIGHT)

    with pytest.raises(ConfigurationError) as error:
        async with Harness(folder):
            pass

    assert str(error.value) == "jobs.nap: no job has this name."


def mistakes(folder: Path) -> list[str]:
    with imports_apart(folder), pytest.raises(ConfigurationError) as error:
        discover(folder)
    return [f"{each.where}: {each.what}" for each in error.value.problems]


JOB = """
from daemon import job

@job("@daily", name="{name}")
async def tidy() -> None:
    pass
"""
SCHEDULED = """
from daemon import Schedule, workflow

@workflow("{name}", schedule=Schedule("@daily", name="tidy"))
def tidy() -> None:
    pass
"""


@pytest.mark.parametrize(
    ("modules", "said"),
    [
        (
            {"workflows__tidy": SCHEDULED.format(name="tidy-up"), "jobs__tidy": JOB.format(name="tidy")},
            "workflows/tidy.py:4: the job 'tidy' is defined at jobs/tidy.py:4 already: rename one of them.",
        ),
        (
            {"workflows__a": SCHEDULED.format(name="a"), "workflows__b": SCHEDULED.format(name="b")},
            "workflows/b.py:4: the job 'tidy' is defined at workflows/a.py:4 already: rename one of them.",
        ),
        (
            {"workflows__tidy": SCHEDULED.format(name="tidy"), "jobs__tidy": JOB.format(name="tidy")},
            (
                "jobs/tidy.py:4: the job 'tidy' has the name of the workflow at workflows/tidy.py:4: workflows, "
                "subscribers and jobs share their names, by which [options] knows them. Rename one of them."
            ),
        ),
        (
            {"workflows__a": SCHEDULED.format(name="a"), "workflows__tidy": SCHEDULED.format(name="tidy")},
            (
                "workflows/a.py:4: the job 'tidy' has the name of the workflow at workflows/tidy.py:4: workflows, "
                "subscribers and jobs share their names, by which [options] knows them. Rename one of them."
            ),
        ),
    ],
    ids=["a job", "another schedule", "a job of the workflow's name", "the schedule of another workflow"],
)
def test_the_name_of_a_schedule_is_one_jobs_only(tmp_path: Path, modules: dict[str, str], said: str) -> None:
    folder = application(tmp_path, **modules)

    assert mistakes(folder) == [said]


@pytest.mark.parametrize(
    ("schedule", "parameter", "said"),
    [
        ('"@daily"', "number: Ref[int]", "'tidy' is started by its schedule, which has to have its input"),
        ('Schedule("@daily", data="x")', "number: Ref[int]", "'tidy' is started by its schedule, which has to have"),
        ('Schedule("@daily", data=1)', "", "'tidy' takes no input; leave data out of its Schedule."),
        ('"99 * * * *"', "", "minute: 99 is not between 0 and 59"),
    ],
    ids=["no data", "unfit data", "needless data", "a wrong expression"],
)
def test_a_schedule_that_could_start_nothing_is_told_with_its_file_and_line(
    tmp_path: Path, schedule: str, parameter: str, said: str
) -> None:
    source = (
        f"from daemon import Ref, Schedule, workflow\n\n@workflow('tidy', schedule={schedule})\n"
        f"def tidy({parameter}) -> None:\n    pass\n"
    )

    [mistake] = mistakes(application(tmp_path, workflows__tidy=source))

    assert mistake.startswith("workflows/tidy.py:3: ")
    assert said in mistake


def test_a_workflow_without_a_schedule_is_no_job(tmp_path: Path) -> None:
    source = NIGHT.replace(', schedule=Schedule(timedelta(hours=1), name="hourly-nap", max_runs=2)', "")
    folder = application(tmp_path, workflows__night=source)

    with imports_apart(folder):
        names = [each.name for each in declared_jobs(discover(folder))]

    assert names == ["report"]
