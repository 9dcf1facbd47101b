"""Work of one run that is done at the same time."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context, copy_context
from functools import partial
from typing import Any

from daemon.engine.control import Failed, Fenced, Parked, Stopped
from daemon.engine.execution import Execution
from daemon.engine.in_place import begin_in_place, next_turn
from daemon.engine.pauses import wake

Begin = Callable[[], Coroutine[Any, Any, None]]
Begun = Coroutine[Any, Any, bool]


async def do_abreast(
    run: Execution, work: Sequence[Begin], *, limit: int, in_place: int = 0, writes: bool = False, stops: bool = True
) -> list[Stopped]:
    """Do several things, at most `limit` at the same time, and return what stopped any of them.

    They begin in order, each in a context of its own or that of one that has ended. All that was begun has ended, one
    way or another, when this returns. What waits for long keeps its place among those that are done at the same time;
    it is begun with again, to go on, when it is time or something came, and stopped once all that is left waits.

    Args:
        run: What they belong to.
        work: What to do; each can be begun with again after it was parked.
        limit: At most so many at the same time.
        in_place: How many of the first get no task before they have to wait: nothing of the application that is called
            in them does, or asks which task it is in.
        writes: Whether what has ended becomes durable while others go on, however long they take.
        stops: Whether nothing is begun any more once the run fails.
    """
    before, run.abreast = run.abreast, True
    group = _Group(run, work, writes=writes, stops=stops)
    try:
        waiting = group.begin_in_place(in_place, limit)
        more = min(limit - len(waiting) - len(group.stopped), len(group.ahead))
        if waiting or more:
            group.count(len(waiting) + more)
            async with asyncio.TaskGroup() as tasks:
                for begun, context in waiting:
                    tasks.create_task(group.one_after_the_other(begun), context=context)
                for _ in range(more):
                    tasks.create_task(group.one_after_the_other())
                await group.write()  # what has ended in place
    finally:
        run.abreast = before
    return group.stopped


class _Group:
    """What is done abreast: what did not begin yet, and what stopped any of the others.

    Invariant: once all have begun, those of the `_going` that wait for long are in `_dormant`, and not all of them are.
    """

    def __init__(self, run: Execution, work: Sequence[Begin], *, writes: bool, stops: bool) -> None:
        self.ahead = deque(work)
        self.stopped: list[Stopped] = []
        self._run = run
        self._writes = writes
        self._stops = stops
        self._is_fenced = False
        self._going: int | None = None  # None: they are about to begin
        self._dormant: set[asyncio.Future[None]] = set()
        self._is_parked = False
        self._is_writing = False

    def begin_in_place(self, count: int, limit: int) -> list[tuple[Begun, Context]]:
        """Begin so many of the first, while there is a place for them; return what is left of those that wait."""
        waiting: list[tuple[Begun, Context]] = []
        for _ in range(count):
            if len(waiting) + len(self.stopped) == limit or self._is_over():
                break
            context = copy_context()
            rest = begin_in_place(self._do_next(), context)
            if rest is not None:
                waiting.append((rest, context))
        return waiting

    def count(self, going: int) -> None:
        """Know from now on how many there are that do one thing after the other."""
        self._going = going
        self._park_if_all_wait()

    async def one_after_the_other(self, begun: Begun | None = None) -> None:
        """Finish what has begun, then do what nobody else has begun, until something is stopped."""
        goes_on = begun is None or await begun
        while goes_on and self.ahead and not self._is_over():
            goes_on = await self._do_next()
        if self._going is not None:
            self.count(self._going - 1)
        await self.write()

    async def write(self) -> None:
        """Have written what has ended in this turn of the loop, if others go on."""
        if not (self._writes and self._going and self._run.journal.pending) or self._is_writing:
            return
        self._is_writing = True
        await next_turn()
        self._is_writing = False
        if self._going and self._run.journal.pending:
            try:
                await self._run.journal.flush()
            except Fenced as why:
                self._stop(why)

    async def _do_next(self) -> bool:
        """Do the next, and tell whether it came to its end."""
        begin, top = self.ahead.popleft(), self._run.top
        while True:
            nudges = top.nudges
            try:
                await begin()
            except (Failed, Parked, Fenced) as stopped:
                why = stopped
            else:
                return True
            if not isinstance(why, Parked) or not await self._goes_on(why, nudges):
                break
        self._stop(why)
        return False

    def _stop(self, why: Stopped) -> None:
        self.stopped.append(why)
        self._is_fenced = self._is_fenced or isinstance(why, Fenced)

    async def _goes_on(self, why: Parked, nudges: int) -> bool:
        """Wait as long as something goes on beside what waits for long; tell whether to look after it again.

        Args:
            why: When it is due.
            nudges: How often something had come before it was looked after the last time.
        """
        run, timer = self._run, None
        left_us = None if why.wake_us is None else why.wake_us - run.ports.clock.now_us()
        if self._is_over() or run.top.nudges != nudges or (left_us is not None and left_us <= 0):
            return not self._is_over()
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if left_us is not None:
            timer = run.ports.clock.call_later(left_us / 1_000_000, partial(wake, sleeper))
        for those in (self._dormant, run.dormant):
            those.add(sleeper)
        self._park_if_all_wait()
        try:
            await sleeper
        finally:
            if timer is not None:
                timer.cancel()
            for those in (self._dormant, run.dormant):
                those.discard(sleeper)
        return not (self._is_parked or self._is_over())

    def _park_if_all_wait(self) -> None:
        """Have all that wait stop waiting here, if nothing goes on beside them; one that was woken will."""
        if len(self._dormant) == self._going and not any(each.done() for each in self._dormant):
            self._is_parked = True
            for each in self._dormant:
                wake(each)

    def _is_over(self) -> bool:
        return self._is_fenced or (self._stops and self._run.failing)
