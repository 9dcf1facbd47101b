"""What the function of a step may be, besides a plain or an async one."""

import functools
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NoReturn, TypeVar

from daemon import PermanentFailure, Ref, StepResponse, step, workflow
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


async def test_a_plain_function_may_say_that_what_it_returns_is_awaited(shop: Process) -> None:
    async def later(value: int) -> StepResponse[int, str]:
        return StepResponse(value + 1, "undo")

    @step("begin")
    def begin(value: int) -> Coroutine[Any, Any, StepResponse[int, str]]:
        return later(value)

    @step("go-on")
    def go_on(value: int) -> Awaitable[int]:
        return go_on_later(value)

    async def go_on_later(value: int) -> int:
        return value + 1

    @workflow("awaited")
    def awaited(value: Ref[int]) -> Ref[int]:
        return go_on(begin(value))

    run = await awaited(shop.container).run(1)

    assert run.result == 3


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
