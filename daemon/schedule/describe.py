"""Jobs and their firings as plain data, the same for commands and the API; pure."""

import json
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from daemon.clock import iso_of
from daemon.retry import Retry
from daemon.schedule.options import Schedule
from daemon.store.job_model import FiringRecord, JobOrder


def next_firings(schedule: Schedule, now: datetime, count: int) -> list[dict[str, str]]:
    """Return the next firing times after `now`, at most so many, each on the zone's clock and in UTC."""
    zone = ZoneInfo(schedule.timezone)
    return [
        {"local": firing.astimezone(zone).isoformat(), "utc": firing.isoformat()}
        for firing in islice(schedule.upcoming(now), count)
    ]


def schedule_json(schedule: Schedule) -> dict[str, Any]:
    """Return a schedule with its options; an interval has `every_s`, and no `schedule`."""
    when = schedule.schedule
    return {
        "schedule": when if isinstance(when, str) else None,
        "every_s": None if isinstance(when, str) else when.total_seconds(),
        "timezone": schedule.timezone,
        "overlap": schedule.overlap,
        "catch_up": schedule.catch_up,
        "catch_up_window_s": schedule.catch_up_window.total_seconds(),
        "jitter_s": schedule.jitter.total_seconds(),
        "max_runs": schedule.max_runs,
        "starts_at": _iso(schedule.starts_at),
        "ends_at": _iso(schedule.ends_at),
        "retry": retry_json(schedule.retry),
        "timeout_s": _seconds(schedule.timeout),
    }


def retry_json(retry: Retry) -> dict[str, Any]:
    """Return a retry policy, without the types that are final."""
    return {
        "max_attempts": retry.max_attempts,
        "delay_s": retry.delay.total_seconds(),
        "backoff": retry.backoff,
        "max_delay_s": retry.max_delay.total_seconds(),
        "jitter": retry.jitter,
    }


def firing_json(firing: FiringRecord) -> dict[str, Any]:
    """Return a firing; `started_at` is null as long as no attempt was started, and `attempts` are those that failed."""
    return {
        "job": firing.job,
        "scheduled_for": iso_of(firing.scheduled_us),
        "state": firing.state.value,
        "trigger": firing.trigger,
        "by": firing.by,
        "reason": firing.reason,
        "attempt": firing.attempt,
        "due_at": None if firing.due_us is None else iso_of(firing.due_us),
        "started_at": iso_of(firing.started_us) if firing.attempt else None,
        "ended_at": None if firing.ended_us is None else iso_of(firing.ended_us),
        "error": firing.error,
        "attempts": json.loads(firing.failures),
    }


def order_json(order: JobOrder) -> dict[str, Any]:
    """Return what somebody ordered of a job."""
    return {"action": order.action.value, "at": iso_of(order.at_us), "by": order.by, "reason": order.reason}


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _seconds(delta: timedelta | None) -> float | None:
    return None if delta is None else delta.total_seconds()
