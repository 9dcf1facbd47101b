"""A sample of `python -m benchmarks.cron_oracle`, which looks at every zone and change."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.unit.schedule.comparison import calculated
from tests.unit.schedule.corpus import CORPUS, GRID, MINUTELY, SECONDS, STARS, TRICKY, ZONES
from tests.unit.schedule.oracle import Moment, clock_changes, firings, timeline


def differences(expressions: tuple[str, ...], zone: str, moments: list[Moment]) -> list[str]:
    return [each for each in expressions if calculated(each, zone, moments) != firings(each, moments)]


def test_the_corpus_has_at_least_500_expressions_and_no_double() -> None:
    assert len(CORPUS) == len(set(CORPUS)) >= 500


@pytest.mark.parametrize(("number", "zone"), list(enumerate(ZONES)))
def test_every_minute_around_a_clock_change_is_as_the_oracle_says(number: int, zone: str) -> None:
    changes = clock_changes(zone, 2020, 2030)
    spring_and_autumn = changes[number % (len(changes) - 1) :][:2]

    for share, change in enumerate(spring_and_autumn):
        moments = timeline(zone, change - timedelta(hours=8), change + timedelta(hours=8))
        expressions = (*TRICKY, *STARS, *GRID[2 * number + share :: 5])

        assert differences(expressions, zone, moments) == []


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe", "Antarctica/Casey"])
def test_every_second_around_a_clock_change_is_as_the_oracle_says(zone: str) -> None:
    for change in clock_changes(zone, 2020, 2023)[:2]:
        around = timedelta(hours=1, minutes=5)
        moments = timeline(zone, change - around, change + around, timedelta(seconds=1))

        assert differences(SECONDS, zone, moments) == []


def test_every_minute_of_a_leap_years_spring_is_as_the_oracle_says() -> None:
    zone = "America/New_York"
    moments = timeline(zone, datetime(2028, 2, 20, 12, tzinfo=UTC), datetime(2028, 4, 10, 12, tzinfo=UTC))

    assert differences((*TRICKY, *STARS), zone, moments) == []


def test_a_change_of_a_whole_day_is_a_correction() -> None:
    zone = "Pacific/Apia"  # had no 30 December 2011
    moments = timeline(zone, datetime(2011, 12, 29, tzinfo=UTC), datetime(2012, 1, 1, tzinfo=UTC))

    assert differences(MINUTELY[::3], zone, moments) == []
