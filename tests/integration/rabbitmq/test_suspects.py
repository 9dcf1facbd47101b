"""Deliveries that come again after a process has died with them."""

import pika

from daemon.events.bus import Delivery, Subscription
from daemon.events.handling import MAX_CRASHES
from daemon.events.rabbitmq import RabbitBus
from daemon.store.model import Receipt
from daemon.store.writes import PutReceipt
from tests.integration.amqp_proxy import through
from tests.integration.proxy import Proxy
from tests.integration.rabbitmq.laboratory import Inbox, Laboratory, until

ACK = b"\x00\x3c\x00\x50"


async def publish(lab: Laboratory, *ids: str) -> None:
    for id in ids:
        await lab.publish("order.placed", b"{}", pika.BasicProperties(message_id=id))


async def subscribe(lab: Laboratory, subscriber: str = "pack") -> tuple[RabbitBus, Inbox]:
    bus = await lab.bus()
    _, inbox = await lab.subscribe(bus, subscriber, "order.placed")
    return bus, inbox


def id_of(delivery: Delivery) -> str:
    return delivery.message.envelope.id


async def test_what_a_dead_process_had_comes_one_at_a_time_and_what_is_fresh_afterwards(lab: Laboratory) -> None:
    dying, inbox = await subscribe(lab)
    await publish(lab, "a", "b", "c")
    await until(lambda: inbox.waiting == 3)
    await lab.die(dying)
    _, inbox = await subscribe(lab)

    seen: list[tuple[str, int]] = []
    for _ in range(3):
        suspect = await inbox.next()
        if not seen:
            await publish(lab, "fresh-1", "fresh-2")
        seen.append((id_of(suspect), inbox.waiting))
        await suspect.ack()
    await until(lambda: inbox.waiting == 2)

    assert sorted(seen) == [("a", 0), ("b", 0), ("c", 0)]
    assert [id_of(await inbox.next()) for _ in range(2)] == ["fresh-1", "fresh-2"]


async def test_the_one_that_kills_every_process_is_found_out_and_its_neighbours_are_not_ended(lab: Laboratory) -> None:
    bus, inbox = await subscribe(lab)
    await publish(lab, "poison", *(f"good-{number}" for number in range(5)))
    await until(lambda: inbox.waiting == 6)

    deaths, ended = 0, 0
    while True:
        await lab.die(bus)
        deaths += 1
        bus, inbox = await subscribe(lab)
        suspect = await inbox.next()
        while id_of(suspect) != "poison":
            assert suspect.crashes == 1
            ended += 1
            await suspect.ack()
            suspect = await inbox.next()
        if suspect.crashes >= MAX_CRASHES:
            break

    assert (deaths, suspect.crashes) == (3, 3)
    await suspect.dead_letter("crashed", error="three times")
    for _ in range(5 - ended):
        neighbour = await inbox.next()
        assert neighbour.crashes <= 1
        await neighbour.ack()
    await until(lambda: [key[-1] for key in lab.store._receipts._receipts] == ["poison"])


async def test_what_was_found_out_stays_so_when_the_broker_does_not_hear_it_and_until_it_is_replayed(
    lab: Laboratory,
) -> None:
    dying, inbox = await subscribe(lab)
    await publish(lab, "poison")
    await inbox.next()
    await lab.store.commit(PutReceipt(Receipt(lab.app, "pack", "", "order.placed", "poison", starts=2)))
    await lab.die(dying)

    async with Proxy(lab.url) as proxy:
        deaf = await lab.bus(url=through(proxy))
        _, inbox = await lab.subscribe(deaf, "pack", "order.placed")
        crashed = [await inbox.next()]
        proxy.cut_at(ACK, before=True)
        await crashed[0].dead_letter("crashed", error="three times")
        await until(lambda: proxy.cuts == 1)
        await lab.die(deaf)
    bus, inbox = await subscribe(lab)
    crashed.append(await inbox.next())
    await crashed[1].dead_letter("crashed", error="three times")
    replayed = await bus.replay("pack")
    first, second = await inbox.next(), await inbox.next()
    await second.ack()
    await lab.die(bus)
    _, inbox = await subscribe(lab)
    again = await inbox.next()

    assert all(each.crashes >= MAX_CRASHES for each in crashed)
    assert (replayed, first.crashes, again.crashes) == (2, 0, 1)


async def test_only_one_that_was_started_before_runs_at_a_time_in_all_subscribers(lab: Laboratory) -> None:
    dying = await lab.bus()
    for subscriber in ("pack", "bill"):
        await lab.subscribe(dying, subscriber, "order.placed")
        await lab.store.commit(PutReceipt(Receipt(lab.app, subscriber, "", "order.placed", "a", starts=1)))
    await publish(lab, "a")
    await until(lambda: all(consumer._intake.unsettled for consumer in dying._consumers))
    await lab.die(dying)

    bus, inbox = await lab.bus(), Inbox()
    for subscriber in ("pack", "bill"):
        await bus.subscribe(Subscription(subscriber, ("order.placed",), 10), inbox)
    first = await inbox.next()
    await until(lambda: all(consumer._intake.unsettled for consumer in bus._consumers))
    waiting = inbox.waiting
    await first.ack()
    second = await inbox.next()

    assert waiting == 0
    assert {first.subscriber, second.subscriber} == {"pack", "bill"}
    assert (first.crashes, second.crashes) == (2, 2)


async def test_a_start_is_taken_back_when_only_the_channel_is_lost(lab: Laboratory) -> None:
    dying, inbox = await subscribe(lab)
    await publish(lab, "a")
    await inbox.next()
    await lab.die(dying)
    bus, inbox = await subscribe(lab)

    crashes = []
    for _ in range(4):
        crashes.append((await inbox.next()).crashes)
        (consumer,) = bus._consumers
        assert consumer._channel is not None
        await consumer._channel.close()

    assert crashes == [1, 0, 0, 0]
    assert not lab.store._receipts._receipts


async def test_what_this_process_had_itself_comes_again_at_once_beside_what_is_fresh(lab: Laboratory) -> None:
    bus, inbox = await subscribe(lab)
    await publish(lab, "a", "b", "c")
    for _ in range(3):
        await inbox.next()

    (consumer,) = bus._consumers
    assert consumer._channel is not None
    await consumer._channel.close()
    await publish(lab, "d")

    assert {id_of(await inbox.next()) for _ in range(4)} == {"a", "b", "c", "d"}


async def test_a_suspect_that_waits_for_its_turn_is_given_back_when_its_daemon_leaves(lab: Laboratory) -> None:
    dying, inbox = await subscribe(lab)
    await publish(lab, "a", "b")
    await until(lambda: inbox.waiting == 2)
    await lab.die(dying)
    leaving, inbox = await subscribe(lab)
    first = await inbox.next()

    (consumer,) = leaving._consumers
    await consumer.cancel()
    _, other = await subscribe(lab)
    second = await other.next()

    assert {id_of(first), id_of(second)} == {"a", "b"}
    assert inbox.waiting == 0
    assert await first.ack()
