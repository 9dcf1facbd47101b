"""How often to try, and how long to wait in between."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import DefinitionError, Retry
from daemon.retry import backoff_s

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(("attempt", "wait_s"), [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 10.0), (5000, 10.0)])
def test_each_failure_multiplies_the_wait_up_to_the_longest(attempt: int, wait_s: float) -> None:
    assert backoff_s(attempt, base_s=1.0, factor=2.0, cap_s=10.0) == wait_s


def test_a_wait_of_nothing_stays_nothing() -> None:
    assert Retry(max_attempts=9).wait_s(8, 0.5) == 0.0


def test_attempts_count_from_one() -> None:
    with pytest.raises(ValueError, match="attempt counts from 1, not 0"):
        backoff_s(0, base_s=1, factor=2, cap_s=10)


def test_jitter_takes_a_part_of_the_wait_off() -> None:
    retry = Retry(max_attempts=2, delay=10 * SECOND, jitter=0.2)

    assert [retry.wait_s(1, chance) for chance in (0.0, 0.5, 1.0)] == [10.0, 9.0, 8.0]


@given(
    attempt=st.integers(1, 10_000),
    delay_s=st.floats(0, 1e6),
    backoff=st.floats(1, 1e6),
    longest_s=st.floats(0, 1e6),
    jitter=st.floats(0, 1),
    chance=st.floats(0, 1),
)
def test_a_wait_is_never_negative_and_never_above_the_longest(  # noqa: PLR0917
    attempt: int, delay_s: float, backoff: float, longest_s: float, jitter: float, chance: float
) -> None:
    retry = Retry(
        max_attempts=2,
        delay=timedelta(seconds=delay_s),
        backoff=backoff,
        max_delay=timedelta(seconds=max(delay_s, longest_s)),
        jitter=jitter,
    )

    assert 0 <= retry.wait_s(attempt, chance) <= retry.max_delay.total_seconds()


def test_the_first_try_counts() -> None:
    retry = Retry(max_attempts=3)

    assert [retry.allows(attempt, ValueError()) for attempt in (1, 2, 3)] == [True, True, False]
    assert not Retry.never().allows(1, ValueError())


def test_final_errors_include_their_subclasses() -> None:
    retry = Retry(max_attempts=3, never_on=(LookupError,))

    assert not retry.allows(1, KeyError())
    assert retry.allows(1, ValueError())


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"max_attempts": 0}, ValueError, "counts the first try"),
        ({"max_attempts": True}, ValueError, "counts the first try"),
        ({"max_attempts": 2, "delay": 5}, TypeError, r"write timedelta\(seconds=...\)"),
        ({"max_attempts": 2, "delay": -SECOND}, ValueError, "Retry.delay is between zero"),
        ({"max_attempts": 2, "max_delay": timedelta(days=10**6)}, ValueError, "Retry.max_delay is between zero"),
        (
            {"max_attempts": 2, "delay": 2 * SECOND, "max_delay": SECOND},
            DefinitionError,
            "0:00:01 is shorter than the first one, delay=0:00:02. Leave max_delay out, or make it longer.",
        ),
        ({"max_attempts": 2, "backoff": 0.5}, ValueError, "Retry.backoff"),
        ({"max_attempts": 2, "backoff": float("nan")}, ValueError, "Retry.backoff"),
        (
            {"max_attempts": 2, "backoff": "2"},
            ValueError,
            "backoff multiplies the wait and is 1 or more, not '2'",
        ),
        ({"max_attempts": 2, "backoff": True}, ValueError, "Retry.backoff"),
        ({"max_attempts": 2, "jitter": 1.5}, ValueError, "Retry.jitter"),
        ({"max_attempts": 2, "jitter": None}, ValueError, "Retry.jitter"),
        ({"max_attempts": 2, "jitter": True}, ValueError, "Retry.jitter"),
        ({"max_attempts": 2, "never_on": (ValueError(),)}, TypeError, "never_on lists exception types"),
        ({"max_attempts": 2, "never_on": ValueError}, TypeError, r"write never_on=\(ValueError,\)"),
        ({"max_attempts": 2, "never_on": "ValueError"}, TypeError, "never_on lists exception types"),
    ],
)
def test_what_is_out_of_range_is_refused(options: dict[str, Any], kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says):
        Retry(**options)


def test_the_longest_wait_is_the_first_one_where_only_that_is_given_and_long() -> None:
    hourly = Retry(max_attempts=3, delay=timedelta(hours=1), backoff=2)

    assert hourly.max_delay == timedelta(hours=1)
    assert [hourly.wait_s(attempt, 0) for attempt in (1, 2)] == [3600, 3600]
    assert Retry(max_attempts=3, delay=SECOND).max_delay == timedelta(minutes=5)
    assert replace(Retry(max_attempts=3), delay=timedelta(hours=1)) == replace(hourly, backoff=1)
    with pytest.raises(DefinitionError):
        Retry(max_attempts=3, delay=timedelta(hours=1), max_delay=timedelta(minutes=5))
