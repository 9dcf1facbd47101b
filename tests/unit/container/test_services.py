"""How services are marked, made once, and pinged."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
import svcs

from daemon.container import ServiceFactory, Services, service
from daemon.errors import ConfigurationError, DefinitionError
from tests.unit.container.stock import Mail, Prices, Session, Stock


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
