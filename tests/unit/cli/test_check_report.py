"""What `sagad check` finds in an application."""

from datetime import UTC, datetime, timedelta
from typing import Any

from daemon import (
    Event,
    Hook,
    Ref,
    Retry,
    Schedule,
    StepResponse,
    job,
    parallelize,
    service,
    sleep,
    step,
    subscriber,
    wait_for_event,
    when,
    workflow,
)
from daemon.cli.check import report_of
from daemon.config import Config
from daemon.discovery import Discovered

NOW = datetime(2026, 1, 31, 22, 30, tzinfo=UTC)


class OrderPlaced(Event, name="order.placed"):
    id: str


@subscriber(OrderPlaced, retry=Retry(max_attempts=3, delay=timedelta(seconds=2)), timeout=timedelta(seconds=9))
async def ship(event: OrderPlaced) -> None:
    """Do nothing."""


@subscriber("order.*", "#.cancelled", ordered=True)
async def audit(event: dict[str, Any]) -> None:
    """Do nothing."""


@job("0 0 * * *", timezone="Europe/Berlin")
async def nightly() -> None:
    """Do nothing."""


@job(timedelta(minutes=15), ends_at=datetime(2026, 1, 31, 23, tzinfo=UTC))
async def quarterly() -> None:
    """Do nothing."""


@step("reserve", timeout=timedelta(seconds=1))
async def reserve(sku: str) -> StepResponse[str, str]:
    return StepResponse(sku, compensate_input=sku)


@reserve.compensate
async def release(sku: str) -> None:
    """Do nothing."""


@step("label")
async def label(sku: str) -> str:
    return sku


@step("charge", timeout=timedelta(seconds=1))
async def charge(sku: str) -> str:
    return sku


@charge.compensate
async def refund(sku: str | None) -> None:
    """Do nothing."""


@workflow("check-report")
def place(sku: Ref[str]) -> Ref[str]:
    reserved = reserve(sku)
    charged, _ = parallelize(charge(reserved), label(reserved))
    return charged


class Stock:
    """A service."""


@service(scope="handler")
def stock() -> Stock:
    return Stock()


def report(*, jobs: Any = (), config: dict[str, Any] | None = None, **found: Any) -> dict[str, Any]:
    discovered = Discovered(jobs=jobs, **found)
    return report_of(Config(app={"name": "shop"}, **(config or {})), discovered, NOW)


def test_subscribers_are_shown_with_their_queue_and_its_bindings() -> None:
    first, second = report(subscribers=(ship, audit))["subscribers"]

    assert first | {"where": ""} == {
        "id": "ship",
        "enabled": True,
        "queue": "shop.ship",
        "patterns": ["order.placed"],
        "retry": {"max_attempts": 3, "delay_s": 2, "backoff": 1, "max_delay_s": 300, "jitter": 0},
        "concurrency": 10,
        "timeout_s": 9,
        "ordered": False,
        "where": "",
    }
    assert (second["patterns"], second["ordered"], second["concurrency"]) == (["order.*", "#.cancelled"], True, 1)


def test_the_configuration_has_the_last_word() -> None:
    overrides = {
        "subscribers": {"ship": {"concurrency": 3, "retry": {"max_attempts": 1}}, "audit": {"enabled": False}},
        "jobs": {"nightly": {"schedule": "0 6 * * *", "timezone": "Asia/Tokyo"}, "quarterly": {"enabled": False}},
    }

    found = report(subscribers=(ship, audit), jobs=(nightly, quarterly), config=overrides)

    shipping, auditing = found["subscribers"]
    assert (shipping["concurrency"], shipping["retry"]["max_attempts"], auditing["enabled"]) == (3, 1, False)
    daily, quarter = found["jobs"]
    assert daily["next"][0] == {"local": "2026-02-01T06:00:00+09:00", "utc": "2026-01-31T21:00:00+00:00"} or (
        daily["next"][0] == {"local": "2026-02-02T06:00:00+09:00", "utc": "2026-02-01T21:00:00+00:00"}
    )
    assert (quarter["enabled"], quarter["next"]) == (False, [])


def test_jobs_are_shown_with_three_firings_in_their_zone_and_in_utc() -> None:
    daily, quarter = report(jobs=(nightly, quarterly))["jobs"]

    assert daily["next"] == [
        {"local": "2026-02-01T00:00:00+01:00", "utc": "2026-01-31T23:00:00+00:00"},
        {"local": "2026-02-02T00:00:00+01:00", "utc": "2026-02-01T23:00:00+00:00"},
        {"local": "2026-02-03T00:00:00+01:00", "utc": "2026-02-02T23:00:00+00:00"},
    ]
    assert (daily["schedule"], daily["timezone"]) == ("0 0 * * *", "Europe/Berlin")
    assert (quarter["schedule"], quarter["every_s"]) == (None, 900)
    assert [at["utc"] for at in quarter["next"]] == ["2026-01-31T22:45:00+00:00", "2026-01-31T23:00:00+00:00"]


def test_a_schedule_that_is_probably_not_meant_is_warned_of() -> None:
    @job("0 0 13 * 5")
    async def on_friday_the_thirteenth() -> None:
        """Do nothing."""

    @job("30 2 * * *", timezone="Europe/Berlin")
    async def in_the_gap() -> None:
        """Do nothing."""

    both, gap = report(jobs=(on_friday_the_thirteenth, in_the_gap))["warnings"]

    assert "job 'on-friday-the-thirteenth': '0 0 13 * 5' restricts both day of month and day of week" in both["what"]
    assert "Europe/Berlin has no 02:30 on 2026-03-29, it fires at 03:00" in gap["what"]


def test_a_job_that_is_off_is_not_warned_of() -> None:
    @job("0 0 13 * 5")
    async def off() -> None:
        """Do nothing."""

    assert report(jobs=(off,), config={"jobs": {"off": {"enabled": False}}})["warnings"] == []


def test_workflows_are_shown_with_their_steps_and_what_undoes_them() -> None:
    (found,) = report(workflows=(place,))["workflows"]

    shown = [(each["name"], each["kind"], each["compensation"], each["timeout_s"]) for each in found["steps"]]
    assert shown == [("reserve", "step", "release", 1), ("charge", "step", "refund", 1), ("label", "step", None, None)]
    first, *members = [each["parallel"] for each in found["steps"]]
    assert first is None
    assert members[0] == members[1] is not None


class Paid(Event, name="order.paid"):
    id: str


reserved_it = Hook[str]("reserved-it")


@step("sign", external=True, timeout=timedelta(days=1))
async def sign(sku: str) -> str:
    return sku


@sign.compensate
async def unsign(sku: str) -> None:
    """Do nothing."""


@workflow("check-language", schedule=Schedule("0 5 * * *", data="mug"))
def language(sku: Ref[str]) -> None:
    place.as_step(sku, name="place-it")
    reserved_it(sku)
    with when(sku, lambda value: value == "mug"):
        sleep(timedelta(hours=2))
        wait_for_event(Paid, key=sku, match=lambda event: event.id, timeout=timedelta(minutes=1))
    sign(sku)


@language.on(reserved_it, timeout=timedelta(seconds=3))
async def tell(sku: str) -> str:
    return sku


@tell.compensate
async def untell(sku: str) -> None:
    """Do nothing."""


def test_children_timers_waits_external_steps_and_hooks_with_their_handlers_are_shown() -> None:
    (found,) = report(workflows=(language,))["workflows"]

    shown = [(each["name"], each["kind"], each["of"], each["block"], each["timeout_s"]) for each in found["steps"]]
    handler = f"reserved-it[{__name__}.tell]"
    assert shown == [
        ("place-it", "child", "check-report", None, None),
        ("reserved-it", "hook", None, None, None),
        (handler, "step", None, "reserved-it", 3),
        ("when-1", "when", None, None, None),
        ("sleep-1", "sleep", "2:00:00", "when-1", None),
        ("wait-for-event-1", "wait_for_event", "order.paid", "when-1", 60),
        ("sign", "step", None, None, 86_400),
    ]
    assert [each["name"] for each in found["steps"] if each["external"]] == ["sign"]
    assert [each["name"] for each in found["steps"] if each["compensation"]] == [handler, "sign"]


def test_external_steps_and_handlers_that_may_leave_what_nobody_can_undo_are_warned_of() -> None:
    first, second = report(workflows=(language,))["warnings"]

    assert first["what"].startswith("step 'sign' of 'check-language' has a timeout, and its compensation unsign ")
    assert second["what"].startswith(f"step 'reserved-it[{__name__}.tell]' of 'check-language' has a timeout")
    assert "test_check_report.py:" in second["where"]


def test_a_workflow_with_a_schedule_is_a_job_too() -> None:
    found = report(workflows=(place, language))

    (started,) = found["jobs"]
    assert (started["name"], started["schedule"], started["enabled"]) == ("check-language", "0 5 * * *", True)
    assert [at["utc"] for at in started["next"]] == [f"2026-02-0{day}T05:00:00+00:00" for day in (1, 2, 3)]
    assert [each["job"] for each in found["workflows"]] == [None, "check-language"]


def test_a_step_that_may_leave_what_nobody_can_undo_is_warned_of() -> None:
    (warning,) = report(workflows=(place,))["warnings"]

    assert warning["what"].startswith(
        "step 'reserve' of 'check-report' has a timeout, and its compensation release does not take None"
    )
    assert "test_check_report.py:" in warning["where"]


def test_services_are_shown_with_their_scope() -> None:
    (found,) = report(services=(stock,))["services"]

    assert (found["type"], found["scope"], found["ping"]) == ("Stock", "handler", False)
