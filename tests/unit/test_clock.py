"""Clocks: the machine's, and one that a test moves."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.clock import Clock, ManualClock, SystemClock, first_id, from_us, iso_of, new_id, to_us

SECOND = timedelta(seconds=1)
START = datetime(2026, 1, 1, tzinfo=UTC)


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC)))  # noqa: DTZ001
def test_a_moment_comes_back_from_microseconds(moment: datetime) -> None:
    assert from_us(to_us(moment)) == moment


def test_the_first_id_of_a_millisecond_parts_those_before_it_from_the_others() -> None:
    moment_us = 1_800_000_000_123_456
    first = first_id(moment_us)

    before = [new_id(moment_us - 1_000) for _ in range(100)]
    since = [new_id(moment_us + later_us) for later_us in (-456, 0, 543, 10**12) for _ in range(100)]

    assert max(before) < first < min(since)
    assert len(first) == 26


def test_ids_sort_by_time_and_within_one_millisecond_by_their_order() -> None:
    moments_us = [1_700_000_000_000_000] * 100 + [1_700_000_000_001_000] * 100

    ids = [new_id(moment_us) for moment_us in moments_us]

    assert ids == sorted(set(ids))
    assert {len(each) for each in ids} == {26}


@pytest.mark.parametrize("make", [SystemClock, ManualClock])
async def test_a_timer_that_was_cancelled_calls_nobody(make: Callable[[], Clock]) -> None:
    clock, called = make(), asyncio.Event()

    clock.call_later(0.0, called.set).cancel()
    if isinstance(clock, ManualClock):
        clock.advance(SECOND)
    await asyncio.sleep(0.001)

    assert not called.is_set()


async def test_the_machines_clock_calls_and_sleeps() -> None:
    clock, called = SystemClock(), asyncio.Event()
    before_s, before_us = clock.monotonic_s(), clock.now_us()

    clock.call_later(0.001, called.set)
    await called.wait()
    await clock.sleep(0.001)

    assert clock.monotonic_s() - before_s >= 0.002
    assert clock.now_us() > before_us
    assert clock.now().tzinfo is UTC


def test_timers_fire_in_order_and_see_their_own_time() -> None:
    clock, seen = ManualClock(START), list[tuple[str, datetime]]()

    def note(name: str) -> None:
        seen.append((name, clock.now()))

    for name, delay_s in (("third", 3.0), ("first", 1.0), ("second", 2.0), ("also first", 1.0)):
        clock.call_later(delay_s, partial(note, name))
    due_s = clock.next_due_s()
    clock.advance(2 * SECOND)

    assert due_s == 1.0
    assert seen == [
        ("first", START + SECOND),
        ("also first", START + SECOND),
        ("second", START + 2 * SECOND),
    ]
    assert clock.next_due_s() == 1.0
    assert clock.now() == START + 2 * SECOND


def test_a_timer_that_a_timer_sets_fires_in_the_same_move() -> None:
    clock, seen = ManualClock(START), list[float]()

    def again() -> None:
        seen.append(clock.monotonic_s())
        clock.call_later(1.0, again)

    clock.call_later(1.0, again)
    clock.advance(3 * SECOND)

    assert seen == [1.0, 2.0, 3.0]


async def test_a_sleeper_wakes_when_the_clock_gets_there() -> None:
    clock = ManualClock(START)
    sleeper = asyncio.create_task(clock.sleep(5.0))
    await asyncio.sleep(0)

    clock.advance(4 * SECOND)
    await asyncio.sleep(0)
    early = sleeper.done()
    clock.advance(SECOND)
    await sleeper

    assert not early
    assert clock.next_due_s() is None


async def test_a_sleeper_that_is_cancelled_leaves_no_timer() -> None:
    clock = ManualClock(START)
    sleeper = asyncio.create_task(clock.sleep(5.0))
    await asyncio.sleep(0)

    sleeper.cancel()
    await asyncio.wait([sleeper])

    assert clock.next_due_s() is None


def test_a_jump_moves_the_wall_clock_alone() -> None:
    clock, called = ManualClock(START), list[int]()
    clock.call_later(10.0, lambda: called.append(1))

    clock.jump(timedelta(hours=-1))

    assert clock.now() == START - timedelta(hours=1)
    assert (clock.monotonic_s(), clock.next_due_s(), called) == (0.0, 10.0, [])


def test_a_clock_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="use jump"):
        ManualClock().advance(-SECOND)
    with pytest.raises(ValueError, match="aware datetime"):
        ManualClock(datetime(2026, 1, 1))  # noqa: DTZ001


@given(st.datetimes(timezones=st.just(UTC)))
def test_moments_are_written_as_datetime_writes_them(moment: datetime) -> None:
    assert iso_of(to_us(moment)) == moment.isoformat()


@pytest.mark.parametrize("moment_us", [-1, 0, 1, 999_999, 1_000_000])
def test_moments_around_the_epoch_are_written_as_datetime_writes_them(moment_us: int) -> None:
    assert iso_of(moment_us) == from_us(moment_us).isoformat()


FORKED = """
import os
from daemon.clock import new_id

new_id(1)
reader, writer = os.pipe()
if os.fork() == 0:
    os.write(writer, new_id(1).encode())
    os._exit(0)
os.wait()
print(os.read(reader, 26).decode(), new_id(1))
"""


def test_a_process_that_was_forked_makes_ids_of_its_own() -> None:
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, check=True)

    of_child, of_parent = done.stdout.split()
    assert of_child != of_parent
