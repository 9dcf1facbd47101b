"""Work of one run that is done at the same time."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context, copy_context
from typing import Any

from daemon.engine.control import Failed, Fenced, Parked, Stopped
from daemon.engine.execution import Execution
from daemon.engine.in_place import begin_in_place

Begin = Callable[[], Coroutine[Any, Any, None]]
Begun = Coroutine[Any, Any, bool]


async def do_abreast(run: Execution, work: Sequence[Begin], *, limit: int, in_place: int = 0) -> list[Stopped]:
    """Do several things, at most `limit` at the same time, and return what stopped any of them.

    They begin in order, each in a context of its own or that of one that has ended. All that was begun has ended, one
    way or another, when this returns; once the run fails nothing is begun. What waits for long keeps its place among
    those that are done at the same time.

    Args:
        run: What they belong to.
        work: What to do.
        limit: At most so many at the same time.
        in_place: How many of the first get no task before they have to wait: nothing of the application that is called
            in them does, or asks which task it is in.
    """
    before, run.abreast = run.abreast, True
    group = _Group(run, work)
    try:
        waiting = group.begin_in_place(in_place, limit)
        more = min(limit - len(waiting) - len(group.stopped), len(group.ahead))
        if waiting or more:
            async with asyncio.TaskGroup() as tasks:
                for begun, context in waiting:
                    tasks.create_task(group.one_after_the_other(begun), context=context)
                for _ in range(more):
                    tasks.create_task(group.one_after_the_other())
    finally:
        run.abreast = before
    return group.stopped


class _Group:
    """What is done abreast: what did not begin yet, and what stopped any of the others."""

    def __init__(self, run: Execution, work: Sequence[Begin]) -> None:
        self.ahead = deque(work)
        self.stopped: list[Stopped] = []
        self._run = run
        self._is_fenced = False

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

    async def one_after_the_other(self, begun: Begun | None = None) -> None:
        """Finish what has begun, then do what nobody else has begun, until something is stopped."""
        goes_on = begun is None or await begun
        while goes_on and self.ahead and not self._is_over():
            goes_on = await self._do_next()

    async def _do_next(self) -> bool:
        """Do the next, and tell whether it came to its end."""
        try:
            await self.ahead.popleft()()
        except (Failed, Parked, Fenced) as why:
            self.stopped.append(why)
            self._is_fenced = self._is_fenced or isinstance(why, Fenced)
            return False
        return True

    def _is_over(self) -> bool:
        return self._run.failing or self._is_fenced
