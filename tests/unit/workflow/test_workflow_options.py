"""How a workflow's runs are started, bounded and kept."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from daemon import CompositionError, CronError, DefinitionError, Ref, Schedule, workflow
from tests.unit.workflow.attempts import Order, take

HERE = "tests/unit/workflow/test_workflow_options.py"
HOUR = timedelta(hours=1)


def test_a_workflow_keeps_its_options() -> None:
    @workflow("kept", timeout=HOUR, retention=2 * HOUR, max_concurrency=3, schedule="@daily")
    def kept() -> None:
        take(1)

    @workflow("plain")
    def plain() -> None:
        take(1)

    assert (kept.timeout, kept.retention, kept.max_concurrency) == (HOUR, 2 * HOUR, 3)
    assert kept.schedule == Schedule("@daily")
    assert (plain.timeout, plain.retention, plain.max_concurrency, plain.schedule) == (None, None, None, None)
    assert (kept.handlers, plain.handlers) == ({}, {})


def test_a_schedule_is_an_expression_an_interval_or_has_all_the_options_of_a_job() -> None:
    full = Schedule("0 8 * * *", timezone="Europe/Berlin", overlap="queue", data=Order(id="1", lines=[]))

    @workflow("each-hour", schedule=HOUR)
    def each_hour() -> None:
        take(1)

    @workflow("each-morning", schedule=full)
    def each_morning(order: Ref[Order]) -> None:
        take(order)

    @workflow("perhaps", schedule=HOUR)
    def perhaps(order: Ref[Order | None]) -> None:
        take(order)

    assert each_morning.schedule is full
    assert perhaps.schedule == each_hour.schedule
    assert each_hour.schedule is not None
    assert next(each_hour.schedule.upcoming(datetime(2030, 1, 1, 0, 30, tzinfo=UTC))).hour == 1


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"timeout": 5}, DefinitionError, "a workflow's timeout is a timedelta, not 5: write timedelta(seconds=...)."),
        (
            {"timeout": timedelta(0)},
            DefinitionError,
            "a workflow's timeout is above zero and at most 100 years, not 0:00:00;",
        ),
        ({"retention": 5}, DefinitionError, "a workflow's retention is a timedelta, not 5"),
        (
            {"retention": -HOUR},
            DefinitionError,
            "a workflow's retention is above zero and at most 100 years, not -1 day,",
        ),
        (
            {"max_concurrency": 0},
            DefinitionError,
            "max_concurrency is a number of runs, 1 or more, not 0; leave it out",
        ),
        ({"max_concurrency": True}, DefinitionError, "max_concurrency is a number of runs, 1 or more, not True;"),
        ({"max_concurrency": 1.5}, DefinitionError, "max_concurrency is a number of runs, 1 or more, not 1.5;"),
        ({"schedule": "61 * * * *"}, CronError, "61"),
        ({"schedule": 60}, DefinitionError, "a schedule is a cron expression or a timedelta, not 60"),
        ({"schedule": timedelta(0)}, DefinitionError, "an interval is one millisecond or longer"),
    ],
)
def test_an_option_out_of_its_range_is_refused_at_once(
    options: dict[str, Any], kind: type[DefinitionError], said: str
) -> None:
    with pytest.raises(kind) as refused:
        workflow("optional", **options)

    assert said in str(refused.value)


def test_a_schedule_has_the_input_of_its_workflow() -> None:
    def with_input(order: Ref[Order]) -> None:
        take(order)

    def without() -> None:
        take(1)

    with pytest.raises(CompositionError) as missing:
        workflow("scheduled", schedule=HOUR)(with_input)
    with pytest.raises(CompositionError) as needless:
        workflow("scheduled", schedule=Schedule(HOUR, data=1))(without)

    assert str(missing.value).startswith(f"{HERE}:{with_input.__code__.co_firstlineno}: ")
    assert "is started by its schedule, which has to have its input: schedule=Schedule(..., data=...)." in str(
        missing.value
    )
    assert str(needless.value).endswith("workflow 'scheduled' takes no input; leave data out of its Schedule.")
