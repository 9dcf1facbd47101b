"""An event loop that is moved by hand: one callback at a time, so that it can be stopped between any two."""

import asyncio
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any

_PATIENCE = 50


class StepLoop(asyncio.BaseEventLoop):
    """Runs what is ready, in its order, and never waits: it knows neither time nor files.

    Attributes:
        steps: How many callbacks have run. Every await that suspends a task lies between two of them.
        troubles: What was left to the loop's exception handler.
    """

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self.troubles: list[str] = []
        self._next: deque[asyncio.Handle] = deque()
        self._made: list[asyncio.Task[Any]] = []

    # --- what tasks and futures need of their loop ---
    def call_soon(  # type: ignore[override]
        self,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._next.append(handle)
        return handle

    def create_task(
        self,
        coro: Generator[Any, None, Any] | Coroutine[Any, Any, Any],
        *,
        name: object = None,
        context: Context | None = None,
    ) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=str(name), context=context)
        self._made.append(task)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.troubles.append(f"{context.get('message')}: {context.get('exception')!r}")

    # --- what whoever drives it needs ---
    @property
    def is_idle(self) -> bool:
        """Whether nothing is ready."""
        return not self._next

    def step(self) -> None:
        """Run the callback that has been ready for longest."""
        handle = self._next.popleft()
        if handle.cancelled():
            return
        self.steps += 1
        before = events._get_running_loop()
        events._set_running_loop(self)
        try:
            handle._run()
        finally:
            events._set_running_loop(before)

    def end(self) -> None:
        """Have every task end without having come any further; nothing that they do now may reach the world."""
        for _ in range(_PATIENCE):
            left = [task for task in self._made if not task.done()]
            for task in left:
                task.cancel()
            while self._next:
                self.step()
            if not left:
                break
        assert all(task.done() for task in self._made), "a task does not let itself be cancelled"
        for task in self._made:
            if not task.cancelled():
                task.exception()  # nobody asks for it any more
        self.close()
