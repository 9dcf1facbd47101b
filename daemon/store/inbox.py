"""Looks up handled events for many handlers at a time.

There is no timer: what is asked while a look-up is under way is answered by the next one. A handler alone waits for
one read, and two hundred share one; a read of its own for each costs more than all else that an event costs.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from daemon.store.sql import Row

_BATCH_MAX = 500


class Inbox:
    """What subscribers are done with, by (app, subscriber, source, event name, event id).

    Args:
        look_up: Returns the positions of those keys that are handled, the first is 0, each with its body's hash.
    """

    def __init__(self, look_up: Callable[[Sequence[Row]], Awaitable[Sequence[Row]]]) -> None:
        self._look_up = look_up
        self._asked: list[tuple[Row, asyncio.Future[bytes | None]]] = []
        self._answering: asyncio.Task[None] | None = None

    def body_hash(self, *key: str) -> asyncio.Future[bytes | None]:
        """Return the hash of a handled event's body, None for any other event; awaiting it raises what reading does."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bytes | None] = loop.create_future()
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

    async def _answer_these(self, asked: Sequence[tuple[Row, asyncio.Future[bytes | None]]]) -> None:
        try:
            rows = await self._look_up([key for key, _ in asked])
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer to whoever waits for it
            for _, answer in asked:
                if not answer.done():
                    answer.set_exception(error)
            return
        handled: dict[int, bytes] = dict(rows)
        for at, (_, answer) in enumerate(asked):
            if not answer.done():  # else whoever asked was cancelled
                answer.set_result(handled.get(at))
