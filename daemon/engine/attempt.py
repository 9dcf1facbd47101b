"""One attempt of a function of the application: in the loop or in a thread, bounded in time."""

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from daemon.clock import Clock
from daemon.errors import StepTimeout


async def in_thread(fn: Callable[..., Any], *args: Any) -> Any:
    """Call a plain function in a thread of its own, with the caller's context variables.

    Python has no way to stop a thread: a caller that is cancelled does not wait for it, nor does the end of the
    process. Therefore it is no thread of a pool, which those that hang would fill. What it returns is awaited here if
    that can be: a plain function around an async one, as many decorators make it.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: Any, error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)

    def work() -> None:
        result: Any = None
        failure: BaseException | None = None
        try:
            result = context.run(fn, *args)
        except StopIteration as error:  # which no future takes
            failure = RuntimeError(f"the function raised StopIteration({error})")
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the caller's
            failure = error
        try:
            loop.call_soon_threadsafe(settle, result, failure)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    threading.Thread(target=work, name=f"sagad {getattr(fn, '__name__', 'step')}", daemon=True).start()
    found = await done
    return await found if inspect.isawaitable(found) else found


async def call_within(
    clock: Clock, limit: timedelta, step: str, fn: Callable[..., Any], args: tuple[Any, ...], *, is_async: bool
) -> Any:
    """Call a step's function, and cancel it when `limit` is over.

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

    timer = clock.call_later(limit.total_seconds(), expire)
    try:
        found = await (fn(*args) if is_async else in_thread(fn, *args))
    except asyncio.CancelledError as error:
        if expired and task.uncancel() <= cancelling:
            raise StepTimeout(step, limit) from error
        raise
    except Exception as error:
        if expired:
            task.uncancel()
            raise StepTimeout(step, limit) from error
        raise
    finally:
        timer.cancel()
    if expired:
        task.uncancel()
        raise StepTimeout(step, limit)
    return found
