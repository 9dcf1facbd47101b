import pickle
from datetime import UTC, datetime, timedelta, timezone
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.schedule.cron import Cron
from tests.unit.schedule.corpus import CORPUS, ZONES

NEW_YORK = "America/New_York"


def local_firings(expression: str, zone: str, after: str, count: int) -> list[str]:
    """Firing times on the zone's clock, with its offset; `after` is UTC."""
    firings = Cron(expression, zone).upcoming(datetime.fromisoformat(after).replace(tzinfo=UTC))
    return [f"{firing.astimezone(ZoneInfo(zone)):%m-%d %H:%M%z}" for firing in islice(firings, count)]


def test_firings_are_aware_utc_datetimes_strictly_after() -> None:
    cron = Cron("0 0 * * *")
    midnight = datetime(2026, 1, 1, tzinfo=UTC)

    after_midnight = next(cron.upcoming(midnight))
    just_before = next(cron.upcoming(midnight - timedelta(microseconds=1)))
    from_elsewhere = next(cron.upcoming(datetime(2026, 1, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))))

    assert after_midnight == midnight + timedelta(days=1)
    assert just_before == from_elsewhere == midnight
    assert all(firing.tzinfo is UTC for firing in (after_midnight, just_before, from_elsewhere))


def test_a_naive_time_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="aware datetime"):
        Cron("* * * * *").upcoming(datetime(2026, 1, 1))  # noqa: DTZ001 - the mistake


@given(expression=st.sampled_from(CORPUS), zone=st.sampled_from(ZONES), second=st.integers(0, 11 * 365 * 86_400))
def test_asking_again_from_any_firing_goes_on_with_the_same_ones(expression: str, zone: str, second: int) -> None:
    cron, start = Cron(expression, zone), datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=second)

    firings = list(islice(cron.upcoming(start), 5))

    assert start < firings[0]
    assert all(earlier < later for earlier, later in pairwise(firings))
    assert [next(cron.upcoming(firing)) for firing in firings[:-1]] == firings[1:]
    assert next(cron.upcoming(firings[0] - timedelta(microseconds=1))) == firings[0]


@pytest.mark.parametrize(
    ("expression", "zone", "after", "wanted"),
    [
        ("0 0 * * *", NEW_YORK, "2026-03-07T12:00", ["03-08 00:00-0500", "03-09 00:00-0400"]),
        ("0 0 1 * *", "Europe/London", "2026-03-20T00:00", ["04-01 00:00+0100", "05-01 00:00+0100"]),
        ("0 0 * * mon", NEW_YORK, "2026-03-06T00:00", ["03-09 00:00-0400", "03-16 00:00-0400"]),
        ("0 0 * * *", "America/Santiago", "2026-09-05T12:00", ["09-06 01:00-0300", "09-07 00:00-0300"]),
        ("30 2 * * *", NEW_YORK, "2026-03-08T00:00", ["03-08 03:00-0400", "03-09 02:30-0400"]),
        ("10,20,30 2 * * *", NEW_YORK, "2026-03-08T00:00", ["03-08 03:00-0400", "03-09 02:10-0400"]),
        ("0 2,3 * * *", NEW_YORK, "2026-03-08T00:00", ["03-08 03:00-0400", "03-09 02:00-0400"]),
        ("*/30 2 * * *", NEW_YORK, "2026-03-08T00:00", ["03-09 02:00-0400", "03-09 02:30-0400"]),
        ("30 1 * * *", NEW_YORK, "2026-11-01T04:00", ["11-01 01:30-0400", "11-02 01:30-0500"]),
        ("30 */1 * * *", NEW_YORK, "2026-11-01T05:00", ["11-01 01:30-0400", "11-01 01:30-0500", "11-01 02:30-0500"]),
        ("0 */2 * * *", "Australia/Lord_Howe", "2026-10-03T14:00", ["10-04 04:00+1100", "10-04 06:00+1100"]),
        ("0 1 * * *", "Antarctica/Casey", "2020-10-03T00:00", ["10-05 01:00+1100", "10-06 01:00+1100"]),
        ("30 22 * * *", "Antarctica/Casey", "2021-03-13T10:00", ["03-13 22:30+1100", "03-13 22:30+0800"]),
        ("0 12 * * *", "Pacific/Apia", "2011-12-29T00:00", ["12-29 12:00-1000", "12-31 12:00+1400"]),
    ],
)
def test_clock_changes(expression: str, zone: str, after: str, wanted: list[str]) -> None:
    assert local_firings(expression, zone, after, len(wanted)) == wanted


@pytest.mark.parametrize(
    ("expression", "same"),
    [
        ("0 9 * * 0", "0 9 * * 7"),
        ("0 9 * * 0", "0 9 * * SUN"),
        ("0 9 * * 5-7", "0 9 * * fri,sat,sun"),
        ("@daily", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
        ("  0\t0  1 jan-mar *  ", "0 0 1 1,2,3 *"),
        ("*/90 * * * *", "0 * * * *"),
        ("5-59/15 * * * *", "5,20,35,50 * * * *"),
        ("0 30 4 * * *", "30 4 * * *"),
        ("007 * * * *", "7 * * * *"),
    ],
)
def test_two_ways_to_say_the_same(expression: str, same: str) -> None:
    after = datetime(2026, 1, 1, tzinfo=UTC)

    assert list(islice(Cron(expression).upcoming(after), 9)) == list(islice(Cron(same).upcoming(after), 9))


def test_when_both_day_fields_are_restricted_either_matches_unless_one_starts_with_a_star() -> None:
    after = "2026-01-28T00:00"

    either = local_firings("0 0 13 * fri", "UTC", after, 3)
    both = local_firings("0 0 13 * */5", "UTC", after, 3)

    assert either == ["01-30 00:00+0000", "02-06 00:00+0000", "02-13 00:00+0000"]
    assert both == ["02-13 00:00+0000", "03-13 00:00+0000", "09-13 00:00+0000"]


def test_a_sixth_field_in_front_is_seconds() -> None:
    firings = Cron("*/20 59 23 * * *").upcoming(datetime(2026, 1, 1, 23, 59, 20, tzinfo=UTC))

    assert [f"{firing:%d %H:%M:%S}" for firing in islice(firings, 3)] == ["01 23:59:40", "02 23:59:00", "02 23:59:20"]


def test_a_leap_day_is_found_over_the_years_without_one() -> None:
    firings = Cron("0 0 29 2 *", NEW_YORK).upcoming(datetime(2096, 3, 1, tzinfo=UTC))

    assert next(firings) == datetime(2104, 2, 29, 5, tzinfo=UTC)


def test_the_firings_end_with_the_calendar() -> None:
    assert list(Cron("0 0 1 1 *").upcoming(datetime(9997, 6, 1, tzinfo=UTC))) == [datetime(9998, 1, 1, tzinfo=UTC)]


def test_a_cron_is_a_value() -> None:
    cron = Cron("0 0 * * *", "Europe/Berlin")

    assert cron == Cron("0 0 * * *", "Europe/Berlin") != Cron("0 0 * * *")
    assert pickle.loads(pickle.dumps(cron)) == cron  # noqa: S301 - our own bytes
    assert repr(cron) == "Cron(expression='0 0 * * *', timezone='Europe/Berlin')"
