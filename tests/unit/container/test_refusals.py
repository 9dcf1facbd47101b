"""What no container can give, and what is said of it."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest
import svcs

from daemon import Ref, StepContext, step, workflow
from daemon.container import Services, duplicate_services, service
from daemon.errors import ConfigurationError, DefinitionError, ServiceNotRegisteredError
from tests.unit.container.stock import Prices, Session, Stock


async def test_an_unknown_type_is_named_with_what_is_known() -> None:
    @service
    def stock() -> Stock:
        return Stock()

    @service
    async def prices(container: svcs.Container) -> Prices:
        await container.aget(Session)
        return Prices()

    services = Services([stock, prices])
    container = services.handler_container()
    sentence = (
        "No service is registered for Session. "
        "Provide one with @service on a function that returns it. Registered: Prices, Stock."
    )

    errors = []
    for attempt in (container.aget(Session), container.aget(Prices)):
        with pytest.raises(ServiceNotRegisteredError) as caught:
            await attempt
        errors.append(caught.value)
    with pytest.raises(svcs.exceptions.ServiceNotFoundError) as caught_too:
        container.get(Session)

    assert [str(error) for error in errors] == [sentence, sentence]
    assert errors[0].wanted is Session
    assert str(caught_too.value) == sentence


async def test_a_run_without_a_container_says_that_it_needs_one() -> None:
    @step("count-stock")
    async def count_stock(shelf: str, ctx: StepContext) -> str:
        await ctx.container.aget(Stock)
        return shelf

    @workflow("stock-taking")
    def stock_taking() -> Ref[str]:
        return count_stock("tea")

    run = await stock_taking().run(raise_on_error=False)

    [error] = run.errors
    assert str(error) == (
        "ServiceNotRegisteredError: No service is registered for Stock. This run has no container: write "
        "my_workflow(container).run(...), in a test with memory_container(...) around it. Registered: WorkflowEngine."
    )


@pytest.mark.parametrize("given", ["an input", {"input": 1}, Stock()], ids=lambda value: type(value).__name__)
def test_what_is_no_container_is_refused_where_it_is_given(given: Any) -> None:
    @workflow("nothing")
    def nothing() -> None: ...

    with pytest.raises(TypeError) as error:
        nothing(given)

    assert re.fullmatch(
        rf"tests/unit/container/test_refusals\.py:\d+: workflow 'nothing' is called with a container, not with a "
        rf"{type(given).__name__}: write my_workflow\(ctx\.container\)\.run\(\.\.\.\), with the input in run\.",
        str(error.value),
    )


async def test_services_that_need_each_other_are_an_error_and_no_deadlock() -> None:
    @service
    async def stock(container: svcs.Container) -> Stock:
        await asyncio.sleep(0)
        await container.aget(Prices)
        return Stock()

    @service
    async def prices(container: svcs.Container) -> Prices:
        await asyncio.sleep(0)
        return Prices(await container.aget(Stock))

    @service
    def session(container: svcs.Container) -> Session:
        container.get(Session)
        return Session()

    async with Services([stock, prices, session]) as services, services.handler_container() as container:
        with pytest.raises(DefinitionError, match="need each other"):
            await container.aget(Stock)
        results = await asyncio.gather(container.aget(Stock), container.aget(Prices), return_exceptions=True)
        with pytest.raises(DefinitionError, match="Session and Session need each other"):
            container.get(Session)

    assert [type(result) for result in results] == [DefinitionError, DefinitionError]


def test_two_factories_of_one_type_are_a_problem_that_names_both() -> None:
    @service
    def one() -> Stock:
        return Stock()

    @service(scope="handler")
    def two() -> Stock:
        return Stock()

    problems = duplicate_services([one, two])

    assert [problem.where for problem in problems] == [two.where]
    assert f"provides Stock, and so does {one.where}: keep one of them." in problems[0].what
    with pytest.raises(ConfigurationError):
        Services([one, two])


def _no_return():  # type: ignore[no-untyped-def]  # noqa: ANN202
    return Stock()


def _needs_two(container: svcs.Container, other: int) -> Stock:
    return Stock()


def _yields_untyped() -> Iterator:  # type: ignore[type-arg]
    yield Stock()


def _unresolved() -> "Nowhere":  # type: ignore[name-defined]  # noqa: F821
    return Stock()


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (_no_return, "does not say what it makes: annotate what it returns, such as -> Stock"),
        (_yields_untyped, "does not say what it makes: annotate what it returns, such as -> Iterator"),
        (_needs_two, r"takes container, other: a factory takes nothing or one svcs\.Container"),
        (_unresolved, "has an annotation that is not there at run time"),
    ],
)
def test_a_factory_that_cannot_be_one_is_refused_where_it_is_marked(function: Any, sentence: str) -> None:
    with pytest.raises(DefinitionError, match=sentence) as caught:
        service(function)

    assert __file__ in str(caught.value)
