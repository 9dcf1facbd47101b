from datetime import UTC, datetime, timedelta, timezone
from itertools import islice

import pytest
from apscheduler.schedulers.background import BackgroundScheduler

from daemon.errors import DefinitionError
from daemon.schedule.cron import Cron
from daemon.schedule.options import Schedule
from daemon.schedule.timetable import Interval, Timetable
from daemon.schedule.trigger import TimetableTrigger

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def test_an_interval_fires_at_whole_multiples_since_the_epoch() -> None:
    firings = Interval(timedelta(hours=7)).upcoming(NOON)

    first, second = islice(firings, 2)

    assert first > NOON
    assert first.timestamp() % (7 * 3600) == 0
    assert second - first == timedelta(hours=7)
    assert first.tzinfo is UTC


def test_an_interval_keeps_its_phase_whenever_it_is_asked() -> None:
    interval = Interval(timedelta(seconds=7))

    for seconds in range(20):
        after = NOON + timedelta(seconds=seconds, microseconds=1)
        firing = next(interval.upcoming(after))

        assert timedelta(0) < firing - after <= timedelta(seconds=7)
        assert firing.timestamp() % 7 == 0


def test_an_interval_fires_strictly_after() -> None:
    interval = Interval(MINUTE)

    assert next(interval.upcoming(NOON)) == NOON + MINUTE
    assert next(interval.upcoming(NOON - timedelta(microseconds=1))) == NOON


def test_an_interval_with_a_start_counts_from_it_and_begins_with_it() -> None:
    start = datetime(2026, 1, 1, 14, 0, 13, tzinfo=timezone(timedelta(hours=1)))
    interval = Interval(timedelta(hours=1), starts_at=start)

    early = list(islice(interval.upcoming(NOON), 2))
    late = next(interval.upcoming(start + timedelta(days=1)))

    assert early == [start, start + timedelta(hours=1)]
    assert late == start + timedelta(days=1, hours=1)


def test_an_interval_that_is_too_short_or_starts_at_a_naive_time_is_refused() -> None:
    with pytest.raises(DefinitionError, match="an interval is one millisecond or longer, not 0:00:00"):
        Interval(timedelta(0))
    with pytest.raises(DefinitionError, match="starts_at needs a time zone: write starts_at=datetime"):
        Interval(MINUTE, starts_at=NOON.replace(tzinfo=None))
    with pytest.raises(ValueError, match="aware datetime"):
        Interval(MINUTE).upcoming(NOON.replace(tzinfo=None))


def test_a_schedule_fires_from_its_start_to_its_end_both_included() -> None:
    schedule = Schedule("0 * * * *", starts_at=NOON, ends_at=NOON + timedelta(hours=2))

    firings = list(schedule.upcoming(NOON - timedelta(days=1)))

    assert firings == [NOON, NOON + timedelta(hours=1), NOON + timedelta(hours=2)]
    assert list(schedule.upcoming(NOON + timedelta(hours=1))) == [NOON + timedelta(hours=2)]


@pytest.mark.parametrize("timetable", [Cron("* * * * *"), Interval(MINUTE), Schedule(MINUTE)])
def test_the_trigger_goes_on_from_the_previous_firing_and_begins_after_now(timetable: Timetable) -> None:
    trigger = TimetableTrigger(timetable)

    assert trigger.get_next_fire_time(None, NOON) == NOON + MINUTE
    assert trigger.get_next_fire_time(NOON, NOON + 9 * MINUTE) == NOON + MINUTE


def test_the_trigger_ends_with_the_schedule() -> None:
    trigger = TimetableTrigger(Schedule(MINUTE, ends_at=NOON + MINUTE))

    assert trigger.get_next_fire_time(NOON, NOON) == NOON + MINUTE
    assert trigger.get_next_fire_time(NOON + MINUTE, NOON) is None


def test_apscheduler_takes_the_trigger_and_asks_it() -> None:
    scheduler = BackgroundScheduler(timezone=UTC)
    scheduler.start(paused=True)

    entry = scheduler.add_job(print, TimetableTrigger(Cron("0 0 29 2 *", "Europe/Berlin")))
    due = entry.next_run_time
    scheduler.shutdown()

    assert due.astimezone(UTC).strftime("%m-%d %H:%M") == "02-28 23:00"
