"""Ordered subscribers: one event at a time, in order, whatever becomes of connections and of the broker's patience."""

import asyncio
from collections.abc import Iterator

import pytest

from daemon.events.rabbitmq.line import IDLE_S
from daemon.log import captured_log
from tests.integration.amqp_proxy import through
from tests.integration.proxy import Proxy
from tests.integration.rabbitmq.laboratory import Laboratory, Node, until
from tests.integration.rabbitmq.ordering import Daemon, at_once, publish
from tests.services import private_rabbit

TIMEOUT_S = 6.0


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """A broker that takes the channel from whoever leaves a delivery unanswered for six seconds."""
    with private_rabbit({"consumer_timeout": str(round(TIMEOUT_S * 1_000))}) as running:
        running.ctl("eval", "application:set_env(rabbit, channel_tick_interval, 500).")
        yield running


@pytest.fixture
def broker_url(node: Node) -> str:
    return node.url


async def test_what_takes_longer_than_the_broker_waits_is_handled_once_and_nothing_overtakes_it(
    lab: Laboratory,
) -> None:
    """celery#6760, dramatiq#827: what waits behind it is moved to the store, too, and keeps its place."""
    daemon = Daemon(lab, "one")

    async def handle(id: str, _: int) -> None:
        await asyncio.sleep(10 if id == "slow" else 0)

    with captured_log() as log:
        await daemon.start(handle, consumer_timeout_s=TIMEOUT_S)
        channel = daemon.consumer._channel
        await publish(lab, "slow", *"abcd")
        await until(lambda: len(daemon.done) == 5, timeout_s=20)

    assert daemon.ran == [(each, 1) for each in ("slow", *"abcd")]
    assert daemon.consumer._channel is channel
    assert len([line for line in log if line["event"] == "event_parked"]) >= 3
    await lab.until_nothing_is_kept()
    [state] = await daemon.bus.queues(["ledger"])
    assert state.ready == 0


@pytest.mark.parametrize("times", [1, 2])
async def test_a_standby_waits_for_the_one_that_has_lost_its_connection_and_handles_nothing_twice(
    lab: Laboratory, times: int
) -> None:
    """The broker gives the event to the next daemon while the first one is still at it."""
    first, standby = Daemon(lab, "one"), Daemon(lab, "two")
    finish = asyncio.Event()

    async def wait(_: str, __: int) -> None:
        await finish.wait()

    async with Proxy(lab.url) as proxy:
        await first.start(wait, url=through(proxy))
        await standby.start(at_once)
        await publish(lab, *"abc")
        await until(lambda: first.ran == [("a", 1)])

        for _ in range(times):
            proxy.accept()
            await until(lambda: first.consumer.ready)
            proxy.refuse()
            await until(lambda: not first.bus.connected)
        await until(lambda: standby.consumer._intake.taken == 1)
        await asyncio.sleep(1.5 * IDLE_S)  # for so long it would keep its turn if it were at nothing
        began_meanwhile = [*standby.ran]
        finish.set()

        await until(lambda: standby.done == ["b", "c"])

    assert began_meanwhile == []
    assert (first.ran, standby.ran) == ([("a", 1)], [("b", 1), ("c", 1)])


async def test_a_standby_goes_on_with_the_attempt_that_follows_the_one_that_failed_without_a_connection(
    lab: Laboratory,
) -> None:
    first, standby = Daemon(lab, "one"), Daemon(lab, "two")
    finish = asyncio.Event()

    async def fail(_: str, __: int) -> None:
        await finish.wait()
        raise RuntimeError("no")

    async with Proxy(lab.url) as proxy:
        await first.start(fail, url=through(proxy))
        await standby.start(at_once)
        await publish(lab, *"ab")
        await until(lambda: first.ran == [("a", 1)])

        proxy.refuse()
        await until(lambda: standby.consumer._intake.taken == 1)
        finish.set()

        await until(lambda: standby.done == ["a", "b"])

    assert (first.ran, standby.ran) == ([("a", 1)], [("a", 2), ("b", 1)])
    await lab.until_nothing_is_kept()
