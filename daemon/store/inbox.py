"""Looks up handled events for many handlers at a time.

There is no timer: what is asked while a look-up is under way is answered by the next one. A handler alone waits for
one read, and two hundred share one; a read of its own for each costs more than all else that an event costs.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence

from daemon.store.sql import Row

_BATCH_MAX = 500
_HANDLED = """
    SELECT asked.key FROM json_each(?) AS asked CROSS JOIN handled
    WHERE handled.app = asked.value ->> 0 AND handled.subscriber = asked.value ->> 1
      AND handled.source = asked.value ->> 2 AND handled.event_name = asked.value ->> 3
      AND handled.event_id = asked.value ->> 4"""


class Inbox:
    """What subscribers are done with, by (app, subscriber, source, event name, event id).

    Args:
        read: Runs a query with its values.
    """

    def __init__(self, read: Callable[[str, object], Awaitable[Sequence[Row]]]) -> None:
        self._read = read
        self._asked: list[tuple[Row, asyncio.Future[bool]]] = []
        self._answering: asyncio.Task[None] | None = None

    def has(self, *key: str) -> asyncio.Future[bool]:
        """Tell whether an event is handled; awaiting it raises what reading raises."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bool] = loop.create_future()
        self._asked.append((key, answer))
        if self._answering is None:
            self._answering = loop.create_task(self._answer())
        return answer

    async def _answer(self) -> None:
        try:
            while self._asked:
                asked = self._asked[:_BATCH_MAX]
                del self._asked[:_BATCH_MAX]
                await self._answer_these(asked)
        finally:
            self._answering = None

    async def _answer_these(self, asked: Sequence[tuple[Row, asyncio.Future[bool]]]) -> None:
        try:
            rows = await self._read(_HANDLED, json.dumps([key for key, _ in asked]))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer to whoever waits for it
            for _, answer in asked:
                if not answer.done():
                    answer.set_exception(error)
            return
        handled = {at for (at,) in rows}
        for at, (_, answer) in enumerate(asked):
            if not answer.done():  # else whoever asked was cancelled
                answer.set_result(at in handled)
