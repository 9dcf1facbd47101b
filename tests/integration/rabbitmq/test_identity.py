"""Events that come without an id."""

import asyncio
from collections.abc import Awaitable

from daemon.errors import StoreUnavailableError
from daemon.events.bus import Delivery
from daemon.events.rabbitmq.delivery import RabbitDelivery
from daemon.store.memory import MemoryStore
from daemon.store.writes import Outcome, PutReceipt, RecordHandled, Write
from tests.integration.rabbitmq.laboratory import Inbox, Laboratory, until


def id_of(delivery: Delivery) -> str:
    return delivery.message.envelope.id


async def ids_of(inbox: Inbox, count: int) -> list[str]:
    return [id_of(await inbox.next()) for _ in range(count)]


async def test_an_event_without_an_id_keeps_the_one_it_was_given_when_its_process_died(lab: Laboratory) -> None:
    first = await lab.bus()
    _, inbox = await lab.subscribe(first, "greet", "customer.created")
    for _ in range(3):
        await lab.publish("customer.created", b'{"same": "three times"}')
    given = await ids_of(inbox, 3)
    await lab.die(first)

    second = await lab.bus()
    _, inbox = await lab.subscribe(second, "greet", "customer.created")
    again = []
    for _ in range(3):
        again.append(await inbox.next())
        await again[-1].ack()

    assert len(set(given)) == 3
    assert [id_of(each) for each in again] == sorted(given)
    assert {each.message.envelope.correlation_id for each in again} == set(given)


async def test_what_the_dead_process_had_done_is_not_the_event_that_comes_again(lab: Laboratory) -> None:
    first = await lab.bus()
    _, inbox = await lab.subscribe(first, "greet", "customer.created")
    await lab.publish("customer.created", b"{}")
    done = await inbox.next()
    await done.ack()
    await lab.publish("customer.created", b"{}")
    open_id = id_of(await inbox.next())
    key = (lab.app, "greet", "", "customer.created", id_of(done))
    await until(lambda: not lab.store._receipts._receipts.keys() & {key})
    await lab.die(first)

    _, inbox = await lab.subscribe(await lab.bus(), "greet", "customer.created")

    assert id_of(await inbox.next()) == open_id


async def test_what_was_recorded_as_handled_just_before_the_death_is_not_given_away_again(lab: Laboratory) -> None:
    first = await lab.bus()
    _, inbox = await lab.subscribe(first, "greet", "customer.created")
    await lab.publish("customer.created", b"{}")
    done = id_of(await inbox.next())
    await lab.store.commit(RecordHandled(lab.app, "greet", "", "customer.created", done, 0))
    await lab.die(first)

    _, inbox = await lab.subscribe(await lab.bus(), "greet", "customer.created")

    assert id_of(await inbox.next()) != done


async def test_a_channel_that_is_lost_while_the_event_is_handled_changes_no_id(lab: Laboratory) -> None:
    bus = await lab.bus()
    consumer, inbox = await lab.subscribe(bus, "greet", "customer.created")
    await lab.publish("customer.created", b"{}")
    given = id_of(await inbox.next())
    await lab.store.commit(RecordHandled(lab.app, "greet", "", "customer.created", given, 0))

    assert consumer._channel is not None
    await consumer._channel.close()

    again = await inbox.next()
    assert id_of(again) == given
    assert await again.ack()


async def test_a_channel_that_is_lost_while_the_event_is_dead_lettered_changes_no_id(lab: Laboratory) -> None:
    bus = await lab.bus()
    consumer, inbox = await lab.subscribe(bus, "greet", "customer.created")
    await lab.publish("customer.created", b"{}")
    delivery = await inbox.next()
    assert isinstance(delivery, RabbitDelivery)
    assert delivery.lane is not None
    assert consumer._channel is not None

    burying = asyncio.create_task(delivery.dead_letter("rejected", error="no"))
    await asyncio.sleep(0)  # until it waits for the confirmation
    delivery.lane._closed = True  # the broker has said so, and nobody has looked yet
    buried = await burying
    await consumer._channel.close()

    assert not buried
    assert id_of(await inbox.next()) == id_of(delivery)


async def test_a_process_that_lives_keeps_the_ids_that_it_gave(lab: Laboratory) -> None:
    first, second = await lab.bus(), await lab.bus()
    await lab.store.register(lab.app, "process-0", lease_s=60)
    _, inbox = await lab.subscribe(first, "greet", "customer.created", prefetch=1)
    await lab.publish("customer.created", b"{}")
    await lab.publish("customer.created", b"{}")
    kept = await inbox.next()
    _, other = await lab.subscribe(second, "greet", "customer.created", prefetch=1)
    passed = await other.next()
    await passed.release()

    again = await other.next()

    assert id_of(again) == id_of(passed) != id_of(kept)


async def test_a_dead_letter_takes_its_id_along_and_leaves_none_behind(lab: Laboratory) -> None:
    bus = await lab.bus()
    _, inbox = await lab.subscribe(bus, "greet", "customer.created")
    await lab.publish("customer.created", b"{}")
    delivery = await inbox.next()

    await delivery.dead_letter("rejected", error="no")

    (letter,) = await bus.dead_letters("greet", limit=10)
    assert letter.event_id == id_of(delivery)
    assert not lab.store._receipts._receipts


class AwayStore(MemoryStore):
    """A store that keeps no receipts for a while."""

    away = 0

    def commit(self, *writes: Write) -> Awaitable[Outcome]:
        if self.away > 0 and isinstance(writes[0], PutReceipt):
            self.away -= 1
            raise StoreUnavailableError("the disk is full")
        return super().commit(*writes)


async def test_an_event_without_an_id_is_seen_by_nobody_before_its_id_is_kept(lab: Laboratory) -> None:
    store = AwayStore()
    store.away = 3
    bus = await lab.bus(store=store)
    _, inbox = await lab.subscribe(bus, "greet", "customer.created")

    await lab.publish("customer.created", b"{}")
    delivery = await inbox.next()

    assert store.away == 0
    assert await store.receipt(lab.app, "greet", "", "customer.created", id_of(delivery)) is not None
