"""Tells when an application has come to rest.

It has when the loop has nothing left to do and no task of sagad is inside something that time by hand does not move:
the application's own code, a library, a thread. What waits for the clock, for another task or for an event is at rest
until one of these goes on.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Iterator
from datetime import timedelta
from types import FrameType
from typing import Any

from daemon.clock import ManualClock, SystemClock, check_advance
from daemon.engine.attempt import in_thread

_QUIET_TURNS = 10  # what a turn of the loop sets off shows in a task within three
_REAL_WAIT_S = 0.001
_Positions = dict[asyncio.Task[Any], tuple[object, int]]


class Rest:
    """Waits until an application has come to rest on a clock by hand.

    Args:
        patience_s: How long that may take of real time, in seconds.
    """

    def __init__(self, clock: ManualClock, patience_s: float) -> None:
        self._clock = clock
        self._patience_s = patience_s
        self._real = SystemClock()

    async def settle(self) -> None:
        """Return when nothing runs and nothing is due.

        Raises:
            TimeoutError: That was not so within the patience; it says what still runs, and where.
        """
        if stuck := await self._settle({}):
            raise TimeoutError(_still_running(stuck, self._patience_s))

    async def advance(self, delta: timedelta) -> None:
        """Move the clock on, from one timer to the next, and settle after each.

        What has not settled within the patience may wait for its own timeout, and so the time goes on.

        Raises:
            TypeError: `delta` is no `timedelta`.
            ValueError: It is below zero.
            TimeoutError: As `settle`, but for what has ended meanwhile.
        """
        check_advance(delta)
        stuck = await self._settle({})
        until_us = self._clock.now_us() + delta // timedelta(microseconds=1)
        while (due_s := self._clock.next_due_s()) is not None:
            wait = timedelta(seconds=due_s)
            if self._clock.now_us() + wait // timedelta(microseconds=1) > until_us:
                break
            self._clock.advance(wait)
            stuck = await self._settle(stuck)
        if stuck:
            raise TimeoutError(_still_running(stuck, self._patience_s))
        self._clock.advance(timedelta(microseconds=until_us - self._clock.now_us()))

    async def moving(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait for the end of something that also waits for what is due by now, such as the end of a grace of zero."""
        task = asyncio.get_running_loop().create_task(work)
        while not task.done():
            self._clock.advance(timedelta(0))
            await asyncio.wait([task], timeout=_REAL_WAIT_S)
        await task

    async def _settle(self, stuck: _Positions) -> _Positions:
        """Return when nothing else than what is stuck runs or is due, with what is stuck by then."""
        until_s = self._real.monotonic_s() + self._patience_s
        while True:
            stuck = await self._quiet(until_s, stuck)
            due_s = self._clock.next_due_s()
            if due_s is None or due_s > 0 or (stuck and self._real.monotonic_s() > until_s):
                return stuck
            self._clock.advance(timedelta(0))

    async def _quiet(self, until_s: float, stuck: _Positions) -> _Positions:
        before: _Positions = {}
        busy: _Positions = {}
        quiet = 0
        while quiet < _QUIET_TURNS:
            now = {task: _position(task) for task in asyncio.all_tasks() if task is not asyncio.current_task()}
            is_still, before = now == before, now
            busy = {task: position for task, position in now.items() if _is_busy(task)}
            quiet = quiet + 1 if is_still and busy.items() <= stuck.items() else 0
            if self._real.monotonic_s() > until_s:
                if not busy:
                    raise TimeoutError(_in_circles(self._patience_s))
                return busy
            # What is busy may wait for a thread or a socket, which a loop that spins would only slow down.
            await self._real.sleep(_REAL_WAIT_S if busy and is_still else 0)
        return busy


def _frames(task: asyncio.Task[Any]) -> Iterator[FrameType]:
    """Return where a suspended task is, from its own coroutine inwards."""
    at: Any = task.get_coro()
    while at is not None:
        frame = getattr(at, "cr_frame", None) or getattr(at, "gi_frame", None)
        if frame is None:
            return
        yield frame
        at = getattr(at, "cr_await", None) or getattr(at, "gi_yieldfrom", None)


def _position(task: asyncio.Task[Any]) -> tuple[object, int]:
    frames = list(_frames(task))
    return (frames[-1], frames[-1].f_lasti) if frames else (None, 0)


def _is_busy(task: asyncio.Task[Any]) -> bool:
    """Tell whether a task of sagad is in something else than sagad: that goes on by itself, whatever the clock says."""
    frames = list(_frames(task))
    if not frames or not _is_in(frames[0], "daemon"):
        return False
    inmost = next(frame for frame in reversed(frames) if not _is_in(frame, "asyncio", "contextlib"))
    if inmost.f_code is in_thread.__code__ or _is_in(inmost, "daemon.container"):  # which makes a service
        return True
    return not _is_in(inmost, "daemon")


def _is_in(frame: FrameType, *packages: str) -> bool:
    module = str(frame.f_globals.get("__name__", ""))
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _in_circles(patience_s: float) -> str:
    return (
        f"The application has not settled within {patience_s:g} s: whatever it does sets off something else, such as "
        "an event whose handler publishes it again."
    )


def _still_running(stuck: Iterable[asyncio.Task[Any]], patience_s: float) -> str:
    places = "; ".join(sorted(_place(task) for task in stuck))
    return (
        f"The application has not settled within {patience_s:g} s. Still running: {places}. What waits for the world "
        "outside needs a stand-in, or more patience: Harness(..., patience_s=60)."
    )


def _place(task: asyncio.Task[Any]) -> str:
    frames = list(_frames(task))
    if not frames:
        return task.get_name()
    own = [frame for frame in frames if not _is_in(frame, "asyncio", "contextlib")]
    frame = next((each for each in own if not _is_in(each, "daemon")), own[-1])
    return f"{frame.f_code.co_qualname} ({frame.f_code.co_filename}:{frame.f_lineno})"
