"""`Harness`: a whole application in memory, on a clock that the test moves."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from daemon import ConfigurationError, DefinitionError, Event, WorkflowEngine
from daemon.discovery import PACKAGES
from daemon.testing import Harness, ManualClock
from tests.unit.testing.folders import CIRCLE, KEPT, MINUTES, OTHER, SHOP, STUCK, application


class OrderPlaced(Event, name="order.placed"):
    id: str


class Stuck(Event, name="stuck"):
    pass


class Patient(Event, name="patient"):
    pass


class Turned(Event, name="turned"):
    times: int


class Doomed(Event, name="doomed"):
    pass


THIRD_TIME = "[options.pack-order]\npacked_in_attempt = 3\n"


def imported() -> dict[str, Any]:
    return {name: each for name, each in sys.modules.items() if name.partition(".")[0] in PACKAGES}


def lines(app: Harness, event: str) -> list[dict[str, Any]]:
    return [line for line in app.log if line["event"] == event]


async def test_settling_waits_for_threads_and_for_what_the_application_awaits(tmp_path: Path) -> None:
    async with Harness(application(tmp_path, subscribers__shop=SHOP)) as app:
        await app.publish(OrderPlaced(id="17"))
        await app.settle()

        [run] = app.runs(workflow="pack-order")
        assert (run.status, run.result, app.clock.now()) == ("completed", "kg", datetime(2026, 1, 1, tzinfo=UTC))


async def test_a_retry_of_tomorrow_takes_no_time(tmp_path: Path) -> None:
    folder = application(tmp_path, config=THIRD_TIME, subscribers__shop=SHOP)

    async with Harness(folder) as app:
        await app.publish(OrderPlaced(id="17"))
        await app.settle()
        before = [run.status for run in app.runs()]
        await app.advance(timedelta(days=2))
        [run] = app.runs()

    assert before == ["waiting"]
    assert (run.status, run.steps["pack"].attempts) == ("completed", 3)


async def test_what_is_published_is_seen_in_its_order(tmp_path: Path) -> None:
    async with Harness(application(tmp_path, subscribers__shop=SHOP)) as app:
        await app.publish(OrderPlaced(id="17"), id="placed-17")
        await app.settle()

        assert [(each.name, each.data) for each in app.published] == [
            ("order.placed", {"id": "17"}),
            ("order.packed", {"id": "17"}),
        ]
        assert app.published[0].id == app.published[1].envelope.causation_id == "placed-17"


async def test_a_handler_that_keeps_failing_ends_as_a_dead_letter_after_its_retries(tmp_path: Path) -> None:
    async with Harness(application(tmp_path, subscribers__minutes=MINUTES)) as app:
        await app.publish(Doomed())
        await app.settle()
        first = len(lines(app, "tried"))
        await app.advance(timedelta(hours=1))
        second = len(lines(app, "tried"))
        await app.advance(timedelta(hours=2))

        assert (first, second, len(lines(app, "tried"))) == (1, 2, 3)
        assert [(each.subscriber, each.reason, each.attempts) for each in app.dead_letters] == [
            ("fail", "attempts_exhausted", 3)
        ]


async def test_a_job_fires_at_every_one_of_its_times(tmp_path: Path) -> None:
    clock = ManualClock(datetime(2026, 3, 29, tzinfo=UTC))

    async with Harness(application(tmp_path, jobs__minutes=MINUTES), clock=clock) as app:
        await app.advance(timedelta(hours=2))

        times = [line["at"] for line in lines(app, "minute")]
        assert times == [(datetime(2026, 3, 29, tzinfo=UTC) + timedelta(minutes=i)).isoformat() for i in range(1, 121)]


async def test_a_year_in_which_nothing_happens_is_over_at_once(tmp_path: Path) -> None:
    async with Harness(application(tmp_path, subscribers__shop=SHOP)) as app:
        await app.advance(timedelta(days=365))

        assert app.clock.now() == datetime(2027, 1, 1, tzinfo=UTC)


async def test_a_run_is_deleted_when_it_was_kept_for_long_enough(tmp_path: Path) -> None:
    async with Harness(application(tmp_path, workflows__kept=KEPT)) as app:
        engine = await app.container.aget(WorkflowEngine)
        kept = engine.workflows["kept"]
        await kept(app.container).run()  # type: ignore[operator]
        await app.advance(timedelta(days=2))
        before = app.runs(workflow="kept")
        await app.advance(timedelta(days=1, minutes=1))

        assert (len(before), app.runs(workflow="kept")) == (1, [])


async def test_work_that_never_ends_is_named(tmp_path: Path) -> None:
    async with Harness(application(tmp_path, subscribers__stuck=STUCK), patience_s=0.2) as app:
        await app.publish(Stuck())
        with pytest.raises(TimeoutError) as error:
            await app.settle()

    assert str(error.value).startswith("The application has not settled within 0.2 s. Still running: wait_forever (")
    assert "subscribers/stuck.py:19)" in str(error.value)


async def test_work_that_never_ends_meets_its_timeout_when_the_time_goes_on(tmp_path: Path) -> None:
    async with Harness(application(tmp_path, subscribers__stuck=STUCK), patience_s=0.2) as app:
        await app.publish(Patient())
        await app.advance(timedelta(hours=2))

        assert [(each.subscriber, each.attempts) for each in app.dead_letters] == [("wait-an-hour", 2)]


async def test_events_that_go_in_circles_are_found_out(tmp_path: Path) -> None:
    async with Harness(application(tmp_path, subscribers__circle=CIRCLE), patience_s=0.2) as app:
        await app.publish(Turned(times=1))
        with pytest.raises(TimeoutError, match="such as an event whose handler publishes it again"):
            await app.settle()


async def test_applications_that_use_the_same_names_follow_each_other(tmp_path: Path) -> None:
    first = application(tmp_path / "first", workflows__shop=SHOP)
    second = application(tmp_path / "second", workflows__shop=OTHER)
    before, path = imported(), list(sys.path)
    kept: list[object] = []

    for folder in (first, second, first):
        async with Harness(folder) as app:
            engine = await app.container.aget(WorkflowEngine)
            kept += engine.workflows.values()

    assert [workflow.name for workflow in kept] == ["pack-order"] * 3  # type: ignore[attr-defined]
    assert (imported(), sys.path) == (before, path)


async def test_applications_run_beside_each_other(tmp_path: Path) -> None:
    first = application(tmp_path / "first", subscribers__shop=SHOP)
    second = application(tmp_path / "second", subscribers__circle=CIRCLE, workflows__shop=OTHER)

    async with Harness(first) as app, Harness(second) as other:
        await app.publish(OrderPlaced(id="17"))
        await app.settle()
        counts = len(app.runs()), len(other.runs())

    assert counts == (1, 0)


async def test_mistakes_of_the_application_are_raised_and_nothing_stays_imported(tmp_path: Path) -> None:
    folder = application(tmp_path, config="[subscribers.pack-them]\n", subscribers__shop=SHOP)
    before, path = imported(), list(sys.path)

    with pytest.raises(ConfigurationError, match="pack-them"):
        async with Harness(folder):
            pass

    assert (imported(), sys.path) == (before, path)


async def test_the_broker_and_the_database_of_the_configuration_are_not_used(tmp_path: Path) -> None:
    config = '[broker]\nurl = "amqp://guest:guest@127.0.0.1:1/"\n[storage]\nurl = "sqlite:///shop.db"\n'
    folder = application(tmp_path, config=config, subscribers__shop=SHOP)

    async with Harness(folder / "config.toml") as app:
        await app.publish(OrderPlaced(id="17"))
        await app.settle()
        runs = app.runs()

    assert [run.status for run in runs] == ["completed"]
    assert not (tmp_path / "shop.db").exists()


async def test_what_is_going_on_at_the_end_of_the_block_is_cancelled(tmp_path: Path) -> None:
    folder = application(tmp_path, config=THIRD_TIME, subscribers__shop=SHOP)

    async with Harness(folder) as app:
        await app.publish(OrderPlaced(id="17"))
        await app.settle()

    assert [run.status for run in app.runs()] == ["waiting"]


async def test_what_is_done_to_a_harness_that_is_not_open_is_refused(tmp_path: Path) -> None:
    app = Harness(application(tmp_path, subscribers__shop=SHOP))
    inside = "happens inside `async with Harness"

    for ask in (app.runs, lambda: app.published, lambda: app.dead_letters, lambda: app.log, lambda: app.container):
        with pytest.raises(RuntimeError, match=inside):
            ask()
    async with app:
        with pytest.raises(RuntimeError, match="is open already"):
            await app.__aenter__()
        await app.publish(OrderPlaced(id="17"))
        await app.settle()
    for act in (app.settle(), app.advance(timedelta(1)), app.publish(OrderPlaced(id="18"))):
        with pytest.raises(RuntimeError, match=inside):
            await act

    assert len(app.runs()) == 1
    assert not hasattr(app, "container_of")


async def test_calls_that_cannot_be_meant_are_refused(tmp_path: Path) -> None:
    folder = application(tmp_path, subscribers__shop=SHOP)
    wrong: Any = {"Scales": object()}

    with pytest.raises(TypeError, match=r"by the type that is asked for, \{Stock: stand_in\}, not by 'Scales'"):
        Harness(folder, services=wrong)
    async with Harness(folder) as app:
        for delta in (5, None, "1 day"):
            with pytest.raises(TypeError, match=r"takes a timedelta, not .*: advance\(timedelta\(seconds=30\)\)"):
                await app.advance(delta)  # type: ignore[arg-type]
        for event in ({"id": "17"}, None, "order.placed"):
            with pytest.raises(DefinitionError, match="An event is expected, and this is"):
                await app.publish(event)  # type: ignore[arg-type]
