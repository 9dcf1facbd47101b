"""How long services live, and in which order they are closed."""

from collections.abc import AsyncIterator, Iterator

import pytest
import svcs

from daemon.container import Services, service
from daemon.errors import DefinitionError
from daemon.log import captured_log
from tests.unit.container.stock import Prices, Session, Stock


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
