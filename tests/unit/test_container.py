"""Services: how their factories are marked, made once, scoped, closed and pinged."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Self

import pytest
import svcs

from daemon.container import ServiceFactory, Services, duplicate_services, service
from daemon.errors import ConfigurationError, DefinitionError, ServiceNotRegisteredError
from daemon.log import captured_log


class Stock:
    pass


class Prices:
    def __init__(self, stock: Stock | None = None) -> None:
        self.stock = stock


class Session:
    pass


class Mail:
    async def __aenter__(self) -> Self:
        raise AssertionError("a service is given out as it is")

    async def __aexit__(self, *_: object) -> None:
        raise AssertionError("and not closed for it")


def test_service_marks_a_function_and_leaves_it_callable() -> None:
    @service(scope="handler", ping=lambda _: True)
    def stock() -> Stock:
        """Make it."""
        return Stock()

    made = stock()

    assert isinstance(made, Stock)
    assert isinstance(stock, ServiceFactory)
    assert (stock.provides, stock.scope, stock.name.split(".")[-1]) == (Stock, "handler", "stock")
    assert (stock.__doc__, stock.where.rpartition(":")[0]) == ("Make it.", __file__)


async def test_every_kind_of_factory_makes_its_service() -> None:
    @service
    def plain() -> Stock:
        return Stock()

    @service
    async def asynchronous(container: svcs.Container) -> Prices:
        return Prices(await container.aget(Stock))

    @service
    def generator() -> Iterator[Session]:
        yield Session()

    @service
    async def async_generator(url: str = "") -> AsyncIterator[dict[str, int]]:
        yield {"a": 1}

    @service
    @asynccontextmanager
    async def manager() -> AsyncIterator[Annotated[str, "greeting"]]:
        yield "hello"

    @service
    def mail() -> Mail:
        return Mail()

    factories = (plain, asynchronous, generator, async_generator, manager, mail)
    async with Services(factories) as services, services.handler_container() as container:
        stock, prices = await container.aget(Stock, Prices)
        wanted: list[Any] = [Session, dict[str, int], Annotated[str, "greeting"], Mail]
        others = [await container.aget(each) for each in wanted]

    assert isinstance(stock, Stock)
    assert prices.stock is stock
    assert isinstance(others[0], Session)
    assert others[1:3] == [{"a": 1}, "hello"]
    assert isinstance(others[3], Mail)


async def test_app_services_are_shared_and_closed_last_made_first_with_the_daemon() -> None:
    events: list[str] = []

    @service
    async def stock() -> AsyncIterator[Stock]:
        events.append("stock made")
        yield Stock()
        events.append("stock closed")

    @service
    async def prices(container: svcs.Container) -> AsyncIterator[Prices]:
        needed = await container.aget(Stock)
        events.append("prices made")
        yield Prices(needed)
        events.append("prices closed")

    services = Services([prices, stock])
    async with services.handler_container() as one:
        first = await one.aget(Prices)
    async with services.handler_container() as two:
        second = await two.aget(Prices)
    events.append("handlers ended")
    await services.aclose()

    assert first is second
    assert events == ["stock made", "prices made", "handlers ended", "prices closed", "stock closed"]


async def test_a_service_that_fails_to_close_stops_no_other() -> None:
    closed: list[str] = []

    @service
    def stock() -> Iterator[Stock]:
        yield Stock()
        closed.append("stock")

    @service
    async def prices() -> AsyncIterator[Prices]:
        yield Prices()
        raise ConnectionError("away")

    services = Services([stock, prices])
    await services.app.aget(Stock)
    await services.app.aget(Prices)
    with captured_log() as entries:
        await services.aclose()

    assert closed == ["stock"]
    assert [(entry["event"], entry["service"], entry["reason"]) for entry in entries] == [
        ("service_not_closed", "Prices", "away")
    ]


async def test_handler_services_are_made_and_closed_with_each_handler() -> None:
    events: list[str] = []

    @service(scope="handler")
    async def session() -> AsyncIterator[Session]:
        events.append("open")
        yield Session()
        events.append("close")

    services = Services([session])
    async with services.handler_container() as one:
        first, again = await one.aget(Session), await one.aget(Session)
    async with services.handler_container() as two:
        second = await two.aget(Session)

    assert first is again
    assert first is not second
    assert events == ["open", "close", "open", "close"]


@pytest.mark.parametrize("scope", ["app", "handler"])
async def test_tasks_that_ask_at_the_same_time_get_one_instance(scope: Any) -> None:
    release, calls = asyncio.Event(), 0

    @service(scope=scope)
    async def stock() -> Stock:
        nonlocal calls
        calls += 1
        await release.wait()
        return Stock()

    services = Services([stock])
    async with services.handler_container() as container, asyncio.TaskGroup() as group:
        tasks = [group.create_task(container.aget(Stock)) for _ in range(5)]
        await asyncio.sleep(0)
        release.set()

    assert len({id(task.result()) for task in tasks}) == 1
    assert calls == 1


async def test_a_factory_that_fails_is_asked_again() -> None:
    attempts = 0

    @service
    async def stock() -> Stock:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise ConnectionError("away")
        return Stock()

    async with Services([stock]) as services, services.handler_container() as container:
        with pytest.raises(ConnectionError):
            await container.aget(Stock)
        made = await container.aget(Stock)

    assert isinstance(made, Stock)


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


async def test_an_app_service_cannot_hold_what_ends_with_a_handler() -> None:
    @service(scope="handler")
    def session() -> Session:
        return Session()

    @service
    async def stock(container: svcs.Container) -> Stock:
        await container.aget(Session)
        return Stock()

    async with Services([session, stock]) as services, services.handler_container() as container:
        with pytest.raises(DefinitionError, match="Session lives as long as one handler") as caught:
            await container.aget(Stock)

    assert session.where in str(caught.value)


async def test_a_plain_function_gets_services_from_its_own_thread_made_once() -> None:
    barrier, made = threading.Barrier(4), 0

    @service
    def stock() -> Iterator[Stock]:
        nonlocal made
        made += 1
        yield Stock()

    @service
    async def prices() -> Prices:
        return Prices()

    def ask(container: svcs.Container) -> Stock:
        barrier.wait()
        return container.get(Stock)

    async with Services([stock, prices]) as services, services.handler_container() as container:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(asyncio.to_thread(ask, container)) for _ in range(4)]
        with pytest.raises(TypeError, match=r"Prices is made by awaiting .*: use `await container\.aget"):
            container.get(Prices)
        awaited = await container.aget(Prices)
        later = container.get(Prices)

    assert len({id(task.result()) for task in tasks}) == 1
    assert made == 1
    assert awaited is later


async def test_pings_tell_which_services_are_well() -> None:
    async def hangs(_: Session) -> None:
        await asyncio.Event().wait()

    def raises(_: Prices) -> None:
        raise ConnectionError("away")

    @service(ping=lambda stock: isinstance(stock, Stock))
    def stock() -> Stock:
        return Stock()

    @service(ping=raises)
    def prices() -> Prices:
        return Prices()

    @service(scope="handler", ping=hangs)
    def session() -> Session:
        return Session()

    @service(ping=lambda _: False)
    def mail() -> Mail:
        return Mail()

    async with Services([stock, prices, session, mail]) as services:
        result = await services.pings(timeout_s=0.01)

    assert result == {"Stock": True, "Prices": False, "Session": False, "Mail": False}


async def test_values_are_given_out_in_both_scopes_and_never_closed() -> None:
    value = Stock()

    @service
    async def prices(container: svcs.Container) -> Prices:
        return Prices(await container.aget(Stock))

    async with Services([prices]) as services:
        services.register_value(Stock, value)
        async with services.handler_container() as container:
            found = (await container.aget(Prices)).stock

    assert found is value


async def test_a_tests_services_are_instances_and_marked_functions() -> None:
    class FakeStock(Stock):
        pass

    @service
    def prices() -> Prices:
        return Prices()

    fake = FakeStock()
    async with Services.of(fake, prices) as services, services.handler_container() as container:
        by_base, by_own, made = await container.aget(Stock, FakeStock, Prices)

    assert by_base is fake
    assert by_own is fake
    assert isinstance(made, Prices)
    with pytest.raises(DefinitionError, match="Stock is no service: make an instance of it"):
        Services.of(Stock)
    with pytest.raises(DefinitionError, match="is no service: mark it with @service"):
        Services.of(lambda: None)
    with pytest.raises(ConfigurationError, match="Stock: is given twice"):
        Services.of(Stock(), Stock())


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


def test_svcs_is_imported_without_the_web_frameworks_and_loads_them_when_they_are_used() -> None:
    program = (
        "import sys, daemon, svcs\n"
        "assert 'svcs.fastapi' not in sys.modules and 'fastapi' not in sys.modules\n"
        "import warnings; warnings.simplefilter('ignore')\n"
        "assert svcs.starlette.__name__ == 'svcs.starlette'\n"
        "assert not hasattr(svcs, 'nothing')\n"
    )

    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
