"""What the function of a step may be, besides a plain or an async one."""

import functools
import threading
from collections.abc import Awaitable, Callable
from typing import NoReturn, TypeVar

from daemon import PermanentFailure, Ref, step, workflow
from tests.contract.engine.processes import Process

T = TypeVar("T")


async def test_a_plain_function_around_an_async_one_is_awaited_in_the_loop(shop: Process) -> None:
    threads: list[str] = []

    def logged(fn: Callable[[int], Awaitable[T]]) -> Callable[[int], Awaitable[T]]:
        @functools.wraps(fn)
        def wrapper(value: int) -> Awaitable[T]:
            return fn(value)

        return wrapper

    @step("wrapped")
    @logged
    async def wrapped(value: int) -> int:
        threads.append(threading.current_thread().name)
        return value + 1

    @wrapped.compensate
    @logged
    async def unwrap(value: int) -> None:
        threads.append(f"undo {value}")

    @step("fail")
    async def fail() -> None:
        raise ValueError

    @workflow("wrapping")
    def wrapping(value: Ref[int]) -> Ref[int]:
        result = wrapped(value)
        fail()
        return result

    run = await wrapping(shop.container).run(1, raise_on_error=False)

    assert run.status == "reverted"
    assert run.steps["wrapped"].output == 2
    assert threads == [threading.main_thread().name, "undo 2"]


async def test_a_step_that_never_returns_may_say_so(shop: Process) -> None:
    @step("refuse")
    async def refuse(value: int) -> NoReturn:
        raise PermanentFailure(str(value))

    @workflow("refusing")
    def refusing(value: Ref[int]) -> None:
        refuse(value)

    run = await refusing(shop.container).run(1, raise_on_error=False)

    assert run.status == "reverted"
    assert str(run.errors[0]) == "PermanentFailure: 1"
