"""A queue for which the broker does not answer, as one that has lost its majority: it holds up itself alone."""

import asyncio
from contextlib import suppress

import pytest

from daemon.errors import BrokerUnavailableError
from daemon.events.model import message_of
from daemon.events.rabbitmq import RabbitBus
from daemon.events.rabbitmq.outgoing import encode
from daemon.events.rabbitmq.publisher import APART_MAX
from daemon.events.rabbitmq.shelf import LOOK_S
from daemon.log import captured_log
from daemon.store.writes import Enqueue
from tests.integration.rabbitmq.laboratory import Laboratory, Node, until
from tests.services.silence import silenced

TIMEOUT_S = 2.0
READ_AHEAD = 400  # a channel takes so many messages that it is not at yet, and then its connection is not read


@pytest.fixture
def broker_url(node: Node) -> str:
    return node.url


async def send(bus: RabbitBus, name: str, body: str = "") -> bool:
    return await bus.send(message_of(name, body.encode(), source="shop", now_us=0))


async def connected_anew(lab: Laboratory, **options: float) -> RabbitBus:
    """Return a bus that has published nothing on its channel: what a channel sends first is what RabbitMQ waits for."""
    former = await lab.bus()
    for subscriber, name in (("silent", "order.noted"), ("other", "order.paid")):
        await lab.subscribe(former, subscriber, name)
    await former.aclose()
    return await lab.bus(publish_timeout_s=TIMEOUT_S, **options)


async def test_a_queue_that_does_not_answer_holds_up_nothing_that_goes_elsewhere(node: Node, lab: Laboratory) -> None:
    bus = await connected_anew(lab)
    with captured_log() as log:
        with silenced(node, f"{lab.app}.silent"):
            both = await asyncio.gather(send(bus, "order.noted"), send(bus, "order.paid"), return_exceptions=True)
            for _ in range(2):
                with pytest.raises(BrokerUnavailableError, match="unknown"):
                    await send(bus, "order.noted")
                assert await send(bus, "order.paid")
        assert await send(bus, "order.noted")
        assert await send(bus, "order.noted")

    assert [type(each) for each in both] == [BrokerUnavailableError] * 2  # the channel was the same one
    told = [(line["event"], line["routing_key"]) for line in log if line["event"].startswith("publish_")]
    assert told == [("publish_unconfirmed", "order.noted"), ("publish_confirmed_again", "order.noted")]
    assert (bus._publish.generation, bus._publisher._apart) == (1, {})


async def test_a_channel_that_was_left_is_closed_when_nobody_can_be_waiting_on_it(node: Node, lab: Laboratory) -> None:
    bus = await connected_anew(lab)
    with silenced(node, f"{lab.app}.silent"):
        for _ in range(3):
            with pytest.raises(BrokerUnavailableError):
                await send(bus, "order.noted")

    assert await send(bus, "order.paid")
    await until(lambda: not bus._publish._retiring, timeout_s=30)
    underlay = bus._publish._underlay
    assert underlay is not None
    await until(lambda: len(underlay.channels) == 1, timeout_s=60)


async def test_a_connection_that_is_not_read_any_more_is_made_anew(node: Node, lab: Laboratory) -> None:
    bus = await connected_anew(lab)
    with captured_log() as log, silenced(node, f"{lab.app}.silent"):
        flood = await asyncio.gather(
            *(send(bus, "order.noted", str(number)) for number in range(2 * READ_AHEAD)), return_exceptions=True
        )
        with pytest.raises(BrokerUnavailableError):
            await send(bus, "order.paid")  # no channel is opened

        await until(lambda: bus._publish.generation == 2)
        assert await send(bus, "order.paid")
        with pytest.raises(BrokerUnavailableError):
            await send(bus, "order.noted")
        assert await send(bus, "order.paid")

    assert all(isinstance(each, BrokerUnavailableError) for each in flood)
    [lost] = [line["reason"] for line in log if line["event"] == "broker_lost"]
    assert "opened no channel within 2 s" in lost
    assert bus._publish.generation == 2


async def test_however_much_is_not_confirmed_only_so_much_goes_apart(node: Node, lab: Laboratory) -> None:
    bus = await connected_anew(lab)
    _, inbox = await lab.subscribe(bus, "many", "order.all.*", prefetch=2 * APART_MAX)
    names = [f"order.all.n{number}" for number in range(APART_MAX + 8)]
    apart = []
    with silenced(node, f"{lab.app}.many"):
        for some in (names[:8], names[8:], names[8:]):  # nobody asks for the first eight again
            tried = await asyncio.gather(*(send(bus, name) for name in some), return_exceptions=True)
            assert all(isinstance(each, BrokerUnavailableError) for each in tried)
            apart.append({key for _, key in bus._publisher._apart})
        assert await send(bus, "order.paid")

    for name in names:
        assert await send(bus, name)

    assert [len(each) for each in apart] == [8, APART_MAX, APART_MAX]
    assert apart[2] == set(names[8:])
    assert bus._publisher._apart.keys() <= {(lab.exchange, name) for name in names[:8]}
    assert inbox.waiting >= len(names)


async def test_what_the_store_keeps_for_others_does_not_wait_for_it(node: Node, lab: Laboratory) -> None:
    bus = await connected_anew(lab)
    consumers = [await lab.attempt(bus, each, name) for each, name in (("silent", "a.b"), ("other", "c.d"))]
    await until(lambda: all(consumer.ready for consumer, _ in consumers))
    shelf, inbox = bus._shelf, consumers[1][1]

    async def keep(subscriber: str) -> None:
        message = message_of("order.noted", b"{}", source="shop", now_us=0)
        await lab.store.commit(Enqueue((shelf._row(subscriber, message, b"{}", encode(message)),)))
        shelf.look()

    with silenced(node, f"{lab.app}.silent"):
        await keep("silent")
        with suppress(BrokerUnavailableError):
            await send(bus, "c.d")  # on the same channel
        await until(lambda: not shelf._publishing)
        bus._publisher._timeout_s = 60  # the second try takes as long as this test
        await until(lambda: "silent" in shelf._publishing, timeout_s=2 * LOOK_S)
        for _ in range(2):
            await keep("other")
            await (await inbox.next(timeout_s=LOOK_S / 2)).ack()

        assert "silent" in shelf._publishing
