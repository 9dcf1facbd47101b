"""A delivery that is retried comes again in time, as often as it takes."""

import asyncio

import pika
import pytest

from daemon.events.embedded.rows import row_of
from daemon.events.model import message_of
from daemon.events.rabbitmq.topology import TIERS_MS, tier_ms
from daemon.store.writes import Enqueue
from tests.integration.rabbitmq.laboratory import Laboratory, until


async def test_an_event_is_retried_many_times_through_one_wait_queue(lab: Laboratory) -> None:
    bus = await lab.bus()
    _, inbox = await lab.subscribe(bus, "greet", "customer.created")
    sent = pika.BasicProperties(message_id="e1", app_id="theirs", headers={"tenant": "acme"})
    await lab.publish("customer.created", b'{"id": "c1"}', sent)

    seen = []
    for attempt in range(1, 11):
        delivery = await inbox.next()
        seen.append((delivery.attempt, delivery.message, delivery.first_seen_us, delivery.redelivered))
        await delivery.retry(0.75, attempt=attempt + 1, error="ValueError: no")

    last = await inbox.next()
    await last.ack()
    assert [attempt for attempt, *_ in seen] == list(range(1, 11))
    assert last.attempt == 11
    assert {(message.envelope.id, message.body) for _, message, *_ in seen} == {("e1", b'{"id": "c1"}')}
    assert last.message.envelope.name == "customer.created"
    assert last.message.envelope.headers == {"tenant": "acme"}
    assert len({first_seen_us // 1_000 for *_, first_seen_us, _ in seen}) == 1
    assert not any(redelivered for *_, redelivered in seen)


async def test_a_retry_is_never_early(lab: Laboratory) -> None:
    bus = await lab.bus()
    _, inbox = await lab.subscribe(bus, "greet", "customer.created")
    await lab.publish("customer.created", b"{}")
    delivery = await inbox.next()
    loop = asyncio.get_running_loop()

    started_s = loop.time()
    await delivery.retry(0.4, attempt=2, error="ValueError: no")

    assert (await inbox.next()).attempt == 2
    assert 0.39 <= loop.time() - started_s < 3


async def test_a_retry_without_delay_does_not_wait(lab: Laboratory) -> None:
    bus = await lab.bus()
    _, inbox = await lab.subscribe(bus, "greet", "customer.created")
    await lab.publish("customer.created", b"{}")

    await (await inbox.next()).retry(0, attempt=2, error="ValueError: no")

    assert (await inbox.next()).attempt == 2
    [state] = await bus.queues(["greet"])
    assert state.ready == 0


async def test_two_subscribers_share_a_wait_queue_and_each_gets_its_own_back(lab: Laboratory) -> None:
    """taskiq-aio-pika#4, taskiq-aio-pika#52, taskiq-aio-pika#53."""
    bus = await lab.bus()
    _, first = await lab.subscribe(bus, "first", "customer.created")
    _, second = await lab.subscribe(bus, "second", "customer.created")
    await lab.publish("customer.created", b"{}", pika.BasicProperties(message_id="e1"))

    await (await first.next()).retry(0.2, attempt=2, error="no")
    await (await second.next()).retry(0.1, attempt=7, error="no")

    again = [await first.next(), await second.next()]
    assert [(delivery.subscriber, delivery.attempt) for delivery in again] == [("first", 2), ("second", 7)]
    assert (first.waiting, second.waiting) == (0, 0)


@pytest.mark.parametrize(
    ("delay_ms", "tier"),
    [
        (749, None),
        (750, 1_000),
        (1_000, 1_000),
        (1_001, None),
        (3_750, 5_000),
        (6_000, None),
        (TIERS_MS[-1], TIERS_MS[-1]),
        (TIERS_MS[-1] + 1, None),
    ],
)
def test_a_delay_waits_in_the_smallest_queue_that_is_long_enough_or_in_the_store(
    delay_ms: int, tier: int | None
) -> None:
    assert tier_ms(delay_ms) == tier


async def test_a_short_wait_behind_a_long_one_is_not_held_up_by_it(lab: Laboratory) -> None:
    """dramatiq#458: a queue lets go in its order, whatever its messages' own times say."""
    bus = await lab.bus()
    _, inbox = await lab.subscribe(bus, "greet", "customer.created")
    for name in ("long", "short"):
        await lab.publish("customer.created", b"{}", pika.BasicProperties(message_id=name))
    waiting = {delivery.message.envelope.id: delivery for delivery in [await inbox.next(), await inbox.next()]}
    loop = asyncio.get_running_loop()

    started_s = loop.time()
    await waiting["long"].retry(3, attempt=2, error="no")
    await waiting["short"].retry(1.2, attempt=2, error="no")
    first, waited_s = await inbox.next(), loop.time() - started_s
    second = await inbox.next()

    assert (first.message.envelope.id, second.message.envelope.id) == ("short", "long")
    assert 1.2 <= waited_s < 2.5
    assert (second.attempt, second.redelivered) == (2, False)


async def test_a_wait_that_no_queue_fits_survives_the_process_as_what_it_was(lab: Laboratory) -> None:
    dying = await lab.bus()
    _, inbox = await lab.subscribe(dying, "greet", "customer.created")
    sent = pika.BasicProperties(message_id="e1", app_id="theirs", headers={"tenant": "acme"})
    await lab.publish("customer.created", b'{"id": "c1"}', sent)
    first = await inbox.next()
    await first.retry(0.4, attempt=3, error="ValueError: no")
    await lab.die(dying)

    _, inbox = await lab.subscribe(await lab.bus(), "greet", "customer.created")
    again = await inbox.next()

    assert (again.message, again.attempt) == (first.message, 3)
    assert again.first_seen_us // 1_000 == first.first_seen_us // 1_000
    assert (again.crashes, again.redelivered) == (0, False)
    await again.ack()
    await lab.until_nothing_is_kept()


async def test_what_waits_in_the_store_stays_there_while_its_queue_is_gone(lab: Laboratory) -> None:
    bus = await lab.bus()
    consumer, inbox = await lab.subscribe(bus, "greet", "customer.created")
    await lab.publish("customer.created", b"{}", pika.BasicProperties(message_id="e1"))
    await (await inbox.next()).retry(0.3, attempt=2, error="no")

    await lab.delete_queue("greet")

    again = await inbox.next(timeout_s=15)
    assert (again.message.envelope.id, again.attempt, consumer.ready) == ("e1", 2, True)


async def test_what_the_embedded_bus_had_left_is_published_when_the_application_moves_to_rabbitmq(
    lab: Laboratory,
) -> None:
    message = message_of("customer.created", b"{}", source="shop", now_us=0, id="e1")
    await lab.store.commit(Enqueue((row_of(message, app=lab.app, subscriber="greet", now_us=0),)))

    _, inbox = await lab.subscribe(await lab.bus(), "greet", "customer.created")

    moved = await inbox.next()
    assert (moved.message.envelope.id, moved.message.envelope.name, moved.attempt) == ("e1", "customer.created", 1)


async def test_an_ordered_subscriber_waits_in_place(lab: Laboratory) -> None:
    bus = await lab.bus()
    _, inbox = await lab.subscribe(bus, "ledger", "entry", prefetch=1, ordered=True)
    for number in range(3):
        await lab.publish("entry", str(number).encode())

    order: list[tuple[bytes, int]] = []
    while len(order) < 5:
        delivery = await inbox.next()
        order.append((delivery.message.body, delivery.attempt))
        if delivery.message.body == b"1" and delivery.attempt < 3:
            await delivery.retry(0.1, attempt=delivery.attempt + 1, error="no")
        else:
            await delivery.ack()

    assert order == [(b"0", 1), (b"1", 1), (b"1", 2), (b"1", 3), (b"2", 1)]


async def test_an_ordered_subscriber_counts_on_when_it_loses_its_channel_while_waiting(lab: Laboratory) -> None:
    bus = await lab.bus()
    _, inbox = await lab.subscribe(bus, "ledger", "entry", prefetch=1, ordered=True)
    await lab.publish("entry", b"0")
    await (await inbox.next()).retry(0.5, attempt=2, error="no")

    await bus._consume._connection.close()  # type: ignore[union-attr]

    again = await inbox.next()
    assert again.attempt == 2
    await again.ack()


async def test_a_wait_in_place_goes_on_where_it_stood_when_its_process_died(lab: Laboratory) -> None:
    dying = await lab.bus()
    _, inbox = await lab.subscribe(dying, "ledger", "entry", prefetch=1, ordered=True)
    await lab.publish("entry", b"0")
    await lab.publish("entry", b"1")
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    first = await inbox.next()
    await first.retry(2, attempt=4, error="no")
    await lab.die(dying)

    _, inbox = await lab.subscribe(await lab.bus(), "ledger", "entry", prefetch=1, ordered=True)

    again = await inbox.next()
    assert loop.time() - started_s >= 1.99
    assert (again.message.body, again.attempt, again.first_seen_us) == (b"0", 4, first.first_seen_us)
    assert again.crashes < 2
    await again.ack()
    assert (await inbox.next()).message.body == b"1"


async def test_a_wait_in_place_is_given_back_when_its_daemon_leaves(lab: Laboratory) -> None:
    leaving, staying = await lab.bus(), await lab.bus()
    consumer, inbox = await lab.subscribe(leaving, "ledger", "entry", prefetch=1, ordered=True)
    await lab.publish("entry", b"0", pika.BasicProperties(message_id="e0"))
    await (await inbox.next()).retry(1, attempt=2, error="no")

    await consumer.cancel()

    _, other = await lab.subscribe(staying, "ledger", "entry", prefetch=1, ordered=True)
    again = await other.next()
    assert (again.message.envelope.id, again.attempt, inbox.waiting) == ("e0", 2, 0)
    await again.ack()


async def test_a_long_wait_in_place_goes_on_in_the_store_before_the_broker_loses_patience(lab: Laboratory) -> None:
    bus = await lab.bus(consumer_timeout_s=0.2)
    consumer, inbox = await lab.subscribe(bus, "ledger", "entry", prefetch=1, ordered=True)
    await lab.publish("entry", b"0")
    loop = asyncio.get_running_loop()

    started_s = loop.time()
    await (await inbox.next()).retry(0.35, attempt=2, error="no")
    await until(lambda: consumer._intake.empty)
    answered_s = loop.time() - started_s

    again = await inbox.next()
    assert (again.attempt, again.redelivered) == (2, False)
    assert loop.time() - started_s >= 0.34
    assert answered_s < 0.34
    await again.ack()
    await lab.until_nothing_is_kept()


async def test_what_waits_for_its_next_attempt_takes_no_room_from_what_comes(lab: Laboratory) -> None:
    """celery#6067, celery#9149, rabbitmq-server#11948: a delay keeps a worker from all else."""
    bus = await lab.bus()
    _, inbox = await lab.subscribe(bus, "greet", "customer.created", prefetch=1)
    for number in range(4):
        await lab.publish("customer.created", str(number).encode())

    seen = []
    for delay_s in (25, 3_600, 8, 40):  # in wait queues, and where none fits, in the store
        delivery = await inbox.next()
        seen.append(delivery.message.body)
        await delivery.retry(delay_s, attempt=2, error="no")
    await lab.publish("customer.created", b"new")

    new = await inbox.next()
    assert seen == [b"0", b"1", b"2", b"3"]
    assert new.message.body == b"new"
    await new.ack()
