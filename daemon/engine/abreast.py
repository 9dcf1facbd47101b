"""Work of one run that is done at the same time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from daemon.engine.control import Failed, Fenced, Parked, Stopped
from daemon.engine.execution import Execution


async def do_abreast(run: Execution, work: Sequence[Callable[[], Awaitable[None]]], *, limit: int) -> list[Stopped]:
    """Do several things, at most `limit` at the same time, and return what stopped any of them.

    All that was begun has ended, one way or another, when this returns; once the run fails nothing is begun. What
    waits for long keeps its place among those that are done at the same time.
    """
    stopped: list[Stopped] = []
    left = iter(work)
    is_fenced = False

    async def one_after_the_other() -> None:
        nonlocal is_fenced
        for each in left:
            if run.failing or is_fenced:
                return
            try:
                await each()
            except (Failed, Parked, Fenced) as why:
                stopped.append(why)
                is_fenced = is_fenced or isinstance(why, Fenced)
                return

    before, run.abreast = run.abreast, True
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(limit, len(work))):
                group.create_task(one_after_the_other())
    finally:
        run.abreast = before
    return stopped
