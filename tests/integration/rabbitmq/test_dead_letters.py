"""What is given up is kept with its reason, and can be had back."""

import asyncio

import pika
import pytest

from daemon.errors import UnroutableError
from daemon.events.model import Choice
from tests.integration.rabbitmq.laboratory import Inbox, Laboratory, until


async def _dead(lab: Laboratory, inbox: Inbox, *ids: str, error: str = "ValueError: no") -> None:
    for event_id in ids:
        sent = pika.BasicProperties(message_id=event_id, headers={"tenant": "acme"}, priority=3, expiration="60000")
        await lab.publish("customer.created", b'{"id": 1}', sent)
        await (await inbox.next()).dead_letter("rejected", error=error, traceback="line\n" * 4_000)


async def test_a_dead_letter_keeps_what_it_was_and_says_why(lab: Laboratory) -> None:
    bus = await lab.bus()
    _, inbox = await lab.subscribe(bus, "greet", "customer.*")

    await _dead(lab, inbox, "e1")

    _, properties, body = await lab.take(f"{lab.app}.greet.dead")
    assert body == b'{"id": 1}'
    assert (properties.message_id, properties.priority, properties.expiration) == ("e1", 3, None)
    headers = properties.headers
    assert headers["tenant"] == "acme"
    assert headers["x-sagad-reason"] == "rejected"
    assert headers["x-sagad-error"] == "ValueError: no"
    assert headers["x-sagad-attempts"] == 1
    assert headers["x-sagad-exchange"] == lab.exchange
    assert headers["x-sagad-routing-key"] == "customer.created"
    assert headers["x-sagad-first-seen"].endswith("Z")
    assert len(headers["x-sagad-traceback"]) == 8_192
    assert not [name for name in headers if "death" in name]


async def test_looking_at_dead_letters_never_deletes_them(lab: Laboratory) -> None:
    bus = await lab.bus()
    _, inbox = await lab.subscribe(bus, "greet", "customer.created")
    await _dead(lab, inbox, "e1", "e2", "e3")

    looks = [await bus.dead_letters("greet", limit=2) for _ in range(5)]

    assert [[letter.event_id for letter in look] for look in looks] == [["e1", "e2"]] * 5
    letter = looks[0][0]
    assert (letter.event_name, letter.reason, letter.error, letter.attempts) == (
        "customer.created",
        "rejected",
        "ValueError: no",
        1,
    )
    assert letter.headers == {"tenant": "acme"}
    assert letter.first_seen_us <= letter.dead_us
    async with asyncio.timeout(10):
        while (await bus.queues(["greet"]))[0].dead != 3:
            pass  # what was looked at is on its way back
    [state] = await bus.queues(["greet"])
    assert (state.ready, state.dead) == (0, 3)


async def test_a_replayed_dead_letter_is_the_same_event_as_attempt_one(lab: Laboratory) -> None:
    bus = await lab.bus()
    _, inbox = await lab.subscribe(bus, "greet", "customer.created")
    _, other = await lab.subscribe(bus, "other", "customer.created")
    await lab.publish("customer.created", b'{"plain": true}')
    await (await other.next()).ack()
    first = await inbox.next()
    await first.retry(0, attempt=2, error="no")
    await (await inbox.next()).dead_letter("attempts_exhausted", error="no")

    replayed = await bus.replay("greet")

    again = await inbox.next()
    assert replayed == 1
    assert again.attempt == 1
    assert again.message.body == first.message.body
    assert again.message.envelope.id == first.message.envelope.id
    assert again.message.envelope.name == "customer.created"
    await again.ack()
    assert other.waiting == 0
    assert await bus.dead_letters("greet", limit=10) == []


async def test_dead_letters_are_replayed_and_discarded_by_id(lab: Laboratory) -> None:
    bus = await lab.bus()
    _, inbox = await lab.subscribe(bus, "greet", "customer.created")
    await _dead(lab, inbox, "e1", "e2", "e3", "e4")

    replayed = await bus.replay("greet", Choice(frozenset({"e2", "nobody"})))
    discarded = await bus.discard("greet", Choice(frozenset({"e3"})))

    assert (replayed, discarded) == (1, 1)
    assert (await inbox.next()).message.envelope.id == "e2"
    assert [letter.event_id for letter in await bus.dead_letters("greet", limit=10)] == ["e1", "e4"]
    assert await bus.discard("greet") == 2


async def test_a_dead_letter_without_its_queue_is_not_replayed_into_nothing(lab: Laboratory) -> None:
    bus = await lab.bus()
    consumer, inbox = await lab.subscribe(bus, "greet", "customer.created")
    await _dead(lab, inbox, "e1")
    await consumer.cancel()
    await until(lambda: consumer.ended)
    await lab.delete_queue("greet")

    with pytest.raises(UnroutableError, match="no queue"):
        await bus.replay("greet")

    assert [letter.event_id for letter in await bus.dead_letters("greet", limit=10)] == ["e1"]


async def test_a_subscriber_that_never_was_has_no_dead_letters(lab: Laboratory) -> None:
    bus = await lab.bus()

    found = await bus.dead_letters("nobody", limit=10)

    assert found == []


async def test_a_dead_letter_of_the_broker_says_what_the_broker_noted(lab: Laboratory) -> None:
    bus = await lab.bus()
    consumer, _ = await lab.subscribe(bus, "greet", "customer.created")
    await consumer.cancel()
    await lab.publish("customer.created", b'{"id": 1}', pika.BasicProperties(message_id="e1", app_id="shop"))
    queue = f"{lab.app}.greet"
    await until(lambda: consumer.ended)
    await lab.amqp(lambda channel: channel.basic_reject(channel.basic_get(queue)[0].delivery_tag, requeue=False))

    while not (letters := await bus.dead_letters("greet", limit=10)):
        pass

    [letter] = letters
    assert (letter.event_id, letter.event_name, letter.source) == ("e1", "customer.created", "shop")
    assert letter.reason == "rejected"
    assert letter.dead_us > 0


async def test_a_missing_queue_of_dead_letters_is_declared_again(lab: Laboratory) -> None:
    bus = await lab.bus()
    _, inbox = await lab.subscribe(bus, "greet", "customer.created")
    await lab.amqp(lambda channel: channel.queue_delete(f"{lab.app}.greet.dead"))

    await _dead(lab, inbox, "e1")

    assert [letter.event_id for letter in await bus.dead_letters("greet", limit=10)] == ["e1"]
