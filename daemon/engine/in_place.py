"""Beginning with something at once, instead of in a task that is to come."""

import asyncio
from collections.abc import Coroutine, Generator, Iterator
from contextvars import Context
from types import coroutine
from typing import Any, TypeVar

T_co = TypeVar("T_co", covariant=True)
_TURN_S = 0.001


class Turn:
    """The turn of the event loop that goes on: what is done in it one after the other has others wait for theirs."""

    def __init__(self) -> None:
        self._asked_s: float | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # of this turn; to ask for it takes longer than the time

    @property
    def is_short(self) -> bool:
        """Whether it is short still, since this was asked in it first."""
        if self._loop is None or self._asked_s is None:
            self._loop = asyncio.get_running_loop()
            self._asked_s = self._loop.time()
            self._loop.call_soon(self._end)
        return self._loop.time() - self._asked_s < _TURN_S

    def _end(self) -> None:
        self._asked_s = self._loop = None


@coroutine
def next_turn() -> Generator[None, None, None]:
    """Wait for the next turn of the event loop: the others have theirs first."""
    yield


def begin_in_place(work: Coroutine[Any, Any, T_co], context: Context) -> "Rest[T_co] | None":
    """Do something until it has to wait, and return the rest of it, for a task in the same context; None: that was all.

    Raises:
        BaseException: Whatever it raises before it has to wait.
    """
    try:
        awaited = context.run(work.send, None)
    except StopIteration:
        return None
    return Rest(work, awaited)


class Rest(Coroutine[Any, Any, T_co]):
    """What is left of something that waits; as `work` would be, had nobody begun with it.

    No generator: a task that is cancelled before its first turn would never enter that, nor what is left in it.
    """

    __slots__ = ("_awaited", "_is_told", "_work")

    def __init__(self, work: Coroutine[Any, Any, T_co], awaited: Any) -> None:
        self._work = work
        self._awaited = awaited
        self._is_told = False

    def send(self, value: Any) -> Any:
        """Tell first what is awaited already, then go on."""
        if self._is_told:
            return self._work.send(value)
        self._is_told = True
        return self._awaited

    def throw(self, *error: Any) -> Any:
        """Go on with an error where it waits."""
        self._is_told = True
        return self._work.throw(*error)

    def close(self) -> None:
        """Go on no further."""
        self._work.close()

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self.send(None)
