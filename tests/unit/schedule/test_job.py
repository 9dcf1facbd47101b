from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import structlog
import svcs

from daemon.config.model import JobOverride
from daemon.errors import CronError, DefinitionError
from daemon.events.model import Event
from daemon.retry import Retry
from daemon.schedule.cron import Cron
from daemon.schedule.job import Job, JobContext, job, overridden
from daemon.schedule.options import Schedule
from daemon.schedule.timetable import Interval

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Swept(Event, name="floor.swept"):
    room: str


def context(emit: Callable[[Event, bool], None] = lambda _event, _immediately: None) -> JobContext:
    return JobContext(
        container=svcs.Container(svcs.Registry()),
        data={"room": "hall"},
        scheduled_for=NOON,
        attempt=1,
        options={},
        log=structlog.get_logger(),
        emit=emit,
    )


async def sweep(ctx: JobContext) -> None:
    ctx.emit(Swept(room=ctx.data["room"]))


def test_a_job_is_named_after_its_function_in_kebab_case_and_knows_its_place() -> None:
    @job("0 0 * * *", timezone="Europe/Berlin", data={"room": "hall"})
    async def run_once_a_day(ctx: JobContext) -> None:
        """Do nothing."""

    assert run_once_a_day.name == "run-once-a-day"
    assert run_once_a_day.schedule.timetable == Cron("0 0 * * *", "Europe/Berlin")
    assert run_once_a_day.schedule.data == {"room": "hall"}
    assert (run_once_a_day.file, run_once_a_day.line > 1) == (__file__, True)
    assert run_once_a_day.where == f"{__file__}:{run_once_a_day.line}"


def test_what_is_not_said_has_the_documented_default() -> None:
    schedule = job(timedelta(hours=1), name="hourly")(sweep).schedule

    assert schedule == Schedule(
        timedelta(hours=1),
        name="hourly",
        timezone="UTC",
        data=None,
        overlap="skip",
        catch_up="latest",
        catch_up_window=timedelta(days=1),
        jitter=timedelta(0),
        max_runs=None,
        starts_at=None,
        ends_at=None,
        retry=Retry.never(),
        timeout=None,
    )
    assert schedule.timetable == Interval(timedelta(hours=1))


async def test_a_handler_takes_the_context_or_nothing() -> None:
    calls: list[str] = []
    emitted: list[tuple[Event, bool]] = []

    @job("0 0 * * *")
    async def without() -> None:
        calls.append("called")

    with_context = job("0 0 * * *")(sweep)
    ctx = context(lambda event, immediately: emitted.append((event, immediately)))

    await without.run(ctx)
    await without()
    await with_context.run(ctx)
    await with_context(ctx)
    ctx.emit(Swept(room="attic"), immediately=True)

    assert calls == ["called", "called"]
    assert emitted == [(Swept(room="hall"), False), (Swept(room="hall"), False), (Swept(room="attic"), True)]


def refusal(schedule: Any, handler: Any = sweep, **options: Any) -> tuple[type[Exception], str]:
    with pytest.raises(DefinitionError) as caught:
        job(schedule, **options)(handler)
    return type(caught.value), str(caught.value)


@pytest.mark.parametrize(
    ("schedule", "options", "wanted"),
    [
        ("75 * * * *", {}, "minute: 75 is not between 0 and 59"),
        (
            "0 0 * * *",
            {"timezone": "Europe/Berln"},
            "timezone: 'Europe/Berln' is not known. Did you mean 'Europe/Berlin'?",
        ),
        (
            timedelta(1),
            {"timezone": "Europe/Berln"},
            "timezone: 'Europe/Berln' is not known. Did you mean 'Europe/Berlin'?",
        ),
        (timedelta(0), {}, "an interval is one millisecond or longer, not 0:00:00"),
        (3600, {}, "a schedule is a cron expression or a timedelta, not 3600"),
        ("@daily", {"overlap": "skipp"}, "overlap is one of skip, queue, allow, not 'skipp'. Did you mean 'skip'?"),
        ("@daily", {"catch_up": "some"}, "catch_up is one of latest, all, none, not 'some'."),
        (
            "@daily",
            {"catch_up_window": -timedelta(1)},
            "catch_up_window is a timedelta of zero or more, not datetime.timedelta(days=-1)",
        ),
        ("@daily", {"jitter": 5}, "jitter is a timedelta of zero or more, not 5"),
        ("@daily", {"timeout": 5}, "timeout is a timedelta above zero, or None for no limit, not 5"),
        ("@daily", {"max_runs": 0}, "max_runs is 1 or more, or None for no limit, not 0"),
        ("@daily", {"retry": 3}, "retry is a Retry, not 3: write retry=Retry(max_attempts=3)"),
        (
            "@daily",
            {"starts_at": NOON.replace(tzinfo=None)},
            (
                "starts_at needs a time zone: write starts_at=datetime(..., tzinfo=UTC), "
                "not datetime.datetime(2026, 1, 1, 12, 0)"
            ),
        ),
        (
            "@daily",
            {"starts_at": NOON, "ends_at": NOON - timedelta(days=1)},
            "ends_at (2025-12-31 12:00:00+00:00) is before starts_at (2026-01-01 12:00:00+00:00)",
        ),
    ],
)
def test_a_wrong_option_is_refused_when_decorating_with_the_jobs_name_and_place(
    schedule: Any, options: dict[str, Any], wanted: str
) -> None:
    kind, message = refusal(schedule, **options)

    assert message == f"job 'sweep' ({__file__}:{sweep.__code__.co_firstlineno}): {wanted}"
    assert kind is (CronError if wanted.startswith(("minute", "timezone")) else DefinitionError)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("Sweep_Floor", " Write 'sweep-floor'."), ("sweep--floor", " Write 'sweep-floor'."), ("-", ""), ("", "")],
)
def test_a_name_that_is_not_kebab_case_is_refused(name: str, hint: str) -> None:
    _, message = refusal("@daily", name=name)

    assert message.endswith(f"a job's name is kebab-case of at most 100 characters, not {name!r}.{hint}")


def test_a_handler_that_is_no_async_function_of_a_context_or_nothing_is_refused() -> None:
    def not_async(ctx: JobContext) -> None:
        """Do nothing."""

    async def greedy(ctx: JobContext, more: int) -> None:
        """Do nothing."""

    assert "its handler is not async: write async def." in refusal("@daily", not_async)[1]
    assert "its handler takes (ctx) or nothing, not (ctx: " in refusal("@daily", greedy)[1]
    assert "@job decorates an async def function, not <class" in refusal("@daily", Path)[1]


def test_a_forgotten_schedule_is_said_to_be_missing() -> None:
    bare: Any = job

    with pytest.raises(DefinitionError, match=r"@job needs a schedule: write @job\('0 0 \* \* \*'\) above sweep\."):
        bare(sweep)


def test_jitter_is_the_same_for_a_firing_everywhere_and_spreads_over_its_span() -> None:
    span = timedelta(minutes=2)
    one, other = (job("* * * * *", name=name, jitter=span)(sweep) for name in ("one", "other"))
    firings = list(islice(one.schedule.upcoming(NOON), 100))

    delays = [one.delay(firing) for firing in firings]

    assert delays == [job("* * * * *", name="one", jitter=span)(sweep).delay(firing) for firing in firings]
    assert delays != [other.delay(firing) for firing in firings]
    assert timedelta(0) <= min(delays) < span / 10 < span * 9 / 10 < max(delays) < span
    assert job("* * * * *")(sweep).delay(NOON) == timedelta(0)


def test_the_timing_changes_with_what_two_processes_must_have_alike_and_the_times_with_what_is_due() -> None:
    base = Schedule("0 0 * * *")
    others = [
        Schedule("0 1 * * *"),
        Schedule(timedelta(days=1)),
        Schedule("0 0 * * *", timezone="Europe/Berlin"),
        Schedule("0 0 * * *", starts_at=NOON),
        Schedule("0 0 * * *", ends_at=NOON),
    ]
    policies = [
        Schedule("0 0 * * *", jitter=timedelta(seconds=1)),
        Schedule("0 0 * * *", overlap="queue"),
        Schedule("0 0 * * *", max_runs=3),
    ]
    same = [
        Schedule("0 0 * * *", retry=Retry(max_attempts=2), data={"room": "hall"}, timeout=timedelta(1)),
        Schedule("0 0 * * *", catch_up="none", catch_up_window=timedelta(2), name="other"),
    ]

    assert len({each.timing for each in (base, *others, *policies)}) == 9
    assert len({each.times for each in (base, *others)}) == 6
    assert {each.times for each in (base, *policies, *same)} == {base.times}
    assert {each.timing for each in (base, *same)} == {base.timing}
    assert base.timing.startswith("9ff321fc0603b5cc")  # in every process


def test_the_configuration_overrides_what_the_decorator_says() -> None:
    sweeping = job("0 0 * * *", jitter=timedelta(seconds=5), retry=Retry(max_attempts=2))(sweep)

    def changed(**keys: Any) -> Job[Any]:
        result = overridden(sweeping, JobOverride(**keys))
        assert result is not None
        return result

    assert overridden(sweeping, None) is sweeping
    assert overridden(sweeping, JobOverride(enabled=False)) is None
    assert changed(schedule="5 0 * * *", timezone="Europe/Berlin").schedule.timetable == Cron(
        "5 0 * * *", "Europe/Berlin"
    )
    assert changed(every_s=90.0).schedule.timetable == Interval(timedelta(seconds=90))
    assert changed(jitter_s=0.0, catch_up_window_s=60.0).schedule == Schedule(
        "0 0 * * *", name="sweep", catch_up_window=timedelta(seconds=60), retry=Retry(max_attempts=2)
    )
    assert changed(retry={"max_attempts": 7}, timeout_s=3.0, overlap="queue", max_runs=2).schedule == Schedule(
        "0 0 * * *",
        name="sweep",
        jitter=timedelta(seconds=5),
        retry=Retry(max_attempts=7),
        timeout=timedelta(seconds=3),
        overlap="queue",
        max_runs=2,
    )


def test_a_wrong_schedule_in_the_configuration_is_a_cron_error() -> None:
    sweeping = job("0 0 * * *")(sweep)

    with pytest.raises(CronError, match="hour: 24 is not between 0 and 23"):
        overridden(sweeping, JobOverride(schedule="0 24 * * *"))
