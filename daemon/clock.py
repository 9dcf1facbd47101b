"""Time as a port: the only module that asks the machine what time it is."""

import asyncio
import heapq
import itertools
import os
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Protocol

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [first + second for first in _CROCKFORD for second in _CROCKFORD]  # ten bits at a time
_RANDOM_BITS = 80
_last_id = 0
_beginning = (-1, "")  # all but the last 20 bits of the latest id, and their text
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND_US = 1_000_000

# Not the system's random bytes for each id: to ask for them lets go of the interpreter's lock, and it may take long to
# have it back. Not `random` itself either: an application may seed that. A process that was forked draws its own.
_random = random.Random()  # noqa: S311 - ids are unique, and no secret


def _begin_anew() -> None:
    global _last_id  # noqa: PLW0603 - as in `new_id`
    _last_id = 0
    _random.seed()


os.register_at_fork(after_in_child=_begin_anew)


def to_us(moment: datetime) -> int:
    """Return an aware datetime as microseconds since the epoch."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_us(moment_us: int) -> datetime:
    """Return microseconds since the epoch as an aware UTC datetime."""
    return _EPOCH + timedelta(microseconds=moment_us)


def iso_of(moment_us: int) -> str:
    """Return microseconds since the epoch as `datetime.isoformat` does, in UTC: for the thousand on a page of runs."""
    if moment_us < _SECOND_US:
        return from_us(moment_us).isoformat()
    digits = str(moment_us)
    micros = digits[-6:]
    return f"{_second(digits[:-6])}+00:00" if micros == "000000" else f"{_second(digits[:-6])}.{micros}+00:00"


@lru_cache(maxsize=256)
def _second(seconds: str) -> str:
    return (_EPOCH + timedelta(seconds=int(seconds))).replace(tzinfo=None).isoformat()


def new_id(now_us: int) -> str:
    """Return a fresh id of 26 characters that sorts by time (a ULID: 48 bits of milliseconds, 80 random bits).

    Ids of one process and one millisecond sort in the order in which they were made.
    """
    global _last_id, _beginning  # noqa: PLW0603 - an order that all of the process shares
    moment_ms = now_us // 1_000
    same = moment_ms == _last_id >> _RANDOM_BITS
    _last_id = _last_id + 1 if same else moment_ms << _RANDOM_BITS | _random.getrandbits(_RANDOM_BITS)
    value = _last_id
    first = value >> 20
    known, text = _beginning
    if first != known:  # hundreds of one millisecond begin alike
        text = "".join([_PAIRS[first >> shift & 1023] for shift in range(100, -1, -10)])
        _beginning = first, text
    return text + _PAIRS[value >> 10 & 1023] + _PAIRS[value & 1023]


def first_id(moment_us: int) -> str:
    """Return what every id that was made before this millisecond sorts before, and no other; none is of before 1970."""
    value = max(0, moment_us // 1_000) << _RANDOM_BITS
    return "".join([_PAIRS[value >> shift & 1023] for shift in range(120, -1, -10)])


class Timer(Protocol):
    """A callback that waits for its time."""

    def cancel(self) -> None:
        """Forget the callback; does nothing once it has run."""


class Clock(Protocol):
    """Wall clock, monotonic clock and timers of one event loop.

    Wall time may jump; monotonic time does not. Timers and `sleep` follow monotonic time.
    """

    def now_us(self) -> int:
        """Return the wall time, in microseconds since the epoch."""

    def now(self) -> datetime:
        """Return the wall time as an aware UTC datetime."""

    def monotonic_s(self) -> float:
        """Return a time that never goes back, in seconds from an arbitrary start."""

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Timer:
        """Call `callback` in the running loop after `delay_s` seconds."""

    async def sleep(self, delay_s: float) -> None:
        """Return after `delay_s` seconds; always gives way to other tasks once."""


class SystemClock:
    """The machine's clocks and the running loop's timers."""

    def now_us(self) -> int:
        return time.time_ns() // 1_000

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        return time.monotonic()

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Timer:
        return asyncio.get_running_loop().call_later(delay_s, callback)

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)


class _ManualTimer:
    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


def check_advance(delta: timedelta) -> None:
    """Raise `TypeError` or `ValueError` if no clock can be moved on by this."""
    given: object = delta
    if not isinstance(given, timedelta):
        msg = f"advance takes a timedelta, not {given!r}: advance(timedelta(seconds=30))."
        raise TypeError(msg)
    if delta < timedelta(0):
        msg = f"advance takes a time of zero or more, not {delta}; use jump to set the wall clock back."
        raise ValueError(msg)


class ManualClock(Clock):
    """A clock that stands still until it is moved: a day's timer takes no time in a test.

    Wall and monotonic time advance together with `advance`; `jump` moves the wall clock alone, as an operator or a
    suspended machine does.
    """

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        if start.tzinfo is None:
            msg = "ManualClock starts at an aware datetime; add tzinfo=UTC."
            raise ValueError(msg)
        self._wall_us = to_us(start)
        self._elapsed_us = 0
        self._order = itertools.count()
        self._timers: list[tuple[int, int, _ManualTimer]] = []

    def now_us(self) -> int:
        return self._wall_us

    def now(self) -> datetime:
        return from_us(self._wall_us)

    def monotonic_s(self) -> float:
        return self._elapsed_us / 1_000_000

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Timer:
        timer = _ManualTimer(callback)
        due_us = self._elapsed_us + max(0, round(delay_s * 1_000_000))
        heapq.heappush(self._timers, (due_us, next(self._order), timer))
        return timer

    async def sleep(self, delay_s: float) -> None:
        if delay_s <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        timer = self.call_later(delay_s, lambda: None if woken.done() else woken.set_result(None))
        try:
            await woken
        finally:
            timer.cancel()

    def next_due_s(self) -> float | None:
        """Return in how many seconds the next timer is due, or None if none waits."""
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return (self._timers[0][0] - self._elapsed_us) / 1_000_000 if self._timers else None

    def advance(self, delta: timedelta) -> None:
        """Move both clocks on by `delta` and call what became due, in order.

        Callbacks run at once; tasks that they wake run when the loop gets its turn.

        Raises:
            TypeError: `delta` is no `timedelta`.
            ValueError: It is below zero.
        """
        check_advance(delta)
        self._fire_until(self._elapsed_us + delta // timedelta(microseconds=1))

    def jump(self, delta: timedelta) -> None:
        """Move the wall clock alone by `delta`, forward or back."""
        self._wall_us += delta // timedelta(microseconds=1)

    def _fire_until(self, target_us: int) -> None:
        while self._timers and self._timers[0][0] <= target_us:
            due_us, _, timer = heapq.heappop(self._timers)
            self._move_to(due_us)
            callback, timer.callback = timer.callback, None
            if callback is not None:
                callback()
        self._move_to(target_us)

    def _move_to(self, elapsed_us: int) -> None:
        self._wall_us += elapsed_us - self._elapsed_us
        self._elapsed_us = elapsed_us
