"""One attempt of a function of the application: in the loop or in a thread, bounded in time."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

from daemon.clock import Clock
from daemon.errors import StepTimeout

_THREADS = 32
_threads: ThreadPoolExecutor | None = None


async def in_thread(fn: Callable[..., Any], *args: Any) -> Any:
    """Call a plain function in a worker thread, with the caller's context variables.

    A caller that is cancelled does not wait for it: Python has no way to stop a thread.
    """
    global _threads  # noqa: PLW0603 - threads belong to the process
    if _threads is None:
        _threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="sagad-step")
    call = partial(contextvars.copy_context().run, fn, *args)
    return await asyncio.get_running_loop().run_in_executor(_threads, call)


async def call(fn: Callable[..., Any], args: tuple[Any, ...], *, is_async: bool) -> Any:
    """Call a step's function or compensation, wherever it has to run."""
    return await (fn(*args) if is_async else in_thread(fn, *args))


async def call_within(
    clock: Clock, timeout: timedelta, step: str, fn: Callable[..., Any], args: tuple[Any, ...], *, is_async: bool
) -> Any:
    """Call as `call` does, and cancel it when `timeout` is over.

    Raises:
        StepTimeout: It was cancelled, also if it swallowed that and returned something.
    """
    task = asyncio.current_task()
    if task is None:
        msg = "call_within runs in a task"
        raise RuntimeError(msg)
    cancelling = task.cancelling()
    expired = False

    def expire() -> None:
        nonlocal expired
        expired = True
        task.cancel()

    timer = clock.call_later(timeout.total_seconds(), expire)
    try:
        found = await call(fn, args, is_async=is_async)
    except asyncio.CancelledError as error:
        if expired and task.uncancel() <= cancelling:
            raise StepTimeout(step, timeout) from error
        raise
    except Exception as error:
        if expired:
            task.uncancel()
            raise StepTimeout(step, timeout) from error
        raise
    finally:
        timer.cancel()
    if expired:
        task.uncancel()
        raise StepTimeout(step, timeout)
    return found
