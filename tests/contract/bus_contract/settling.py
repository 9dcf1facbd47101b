"""What every bus promises of deliveries: each is settled once, retried after its delay, and lost with no process."""

import asyncio

from tests.contract.bus_contract.world import BusWorld, claim, consume, message, place


@claim
async def an_acknowledged_event_does_not_come_again(world: BusWorld) -> None:
    bus = await world.bus()
    inbox, _ = await consume(bus, "reader", prefetch=1)
    await place(bus, "o1", "o2")
    await (await inbox.next()).ack()
    await inbox.next()

    await world.crash(bus)

    again, _ = await consume(await world.bus(), "reader")
    assert await again.ids(1) == ["o2"]


@claim
async def an_unsettled_event_comes_again_when_its_consumer_died(world: BusWorld) -> None:
    bus = await world.bus()
    inbox, _ = await consume(bus, "reader")
    await place(bus, "o1", "o2")
    await inbox.next()
    await inbox.next()

    await world.crash(bus)

    again, _ = await consume(await world.bus(), "reader")
    first = await again.next()
    assert (first.message.envelope.id, first.attempt, first.redelivered) == ("o1", 1, True)
    await first.ack()
    assert await again.ids(1) == ["o2"]


@claim
async def an_unsettled_event_comes_again_when_its_consumer_left(world: BusWorld) -> None:
    bus = await world.bus()
    inbox, _ = await consume(bus, "reader")
    await place(bus, "o1")
    await inbox.next()

    await bus.aclose()

    again, _ = await consume(await world.bus(), "reader")
    assert await again.ids(1) == ["o1"]


@claim
async def a_released_event_goes_to_somebody_else_as_the_same_attempt(world: BusWorld) -> None:
    leaving, staying = await world.bus(), await world.bus()
    inbox, consumer = await consume(leaving, "reader")
    await place(leaving, "o1")
    delivery = await inbox.next()
    await consumer.cancel()

    await delivery.release()

    other, _ = await consume(staying, "reader")
    again = await other.next()
    assert (again.message.envelope.id, again.attempt, again.crashes) == ("o1", 1, 0)


@claim
async def a_cancelled_consumer_takes_nothing_more_and_settles_what_it_has(world: BusWorld) -> None:
    bus = await world.bus()
    inbox, consumer = await consume(bus, "reader")
    await place(bus, "o1")
    delivery = await inbox.next()

    await consumer.cancel()
    await place(bus, "o2")
    await delivery.ack()

    again, _ = await consume(await world.bus(), "reader")
    assert await again.ids(1) == ["o2"]
    assert len(inbox.deliveries) == 1


@claim
async def settling_what_a_dead_process_had_does_nothing_and_says_so(world: BusWorld) -> None:
    dead, living = await world.bus(), await world.bus()
    names = ("first", "second", "other", "reader")
    inboxes = [(await consume(dead, name))[0] for name in names]
    await place(dead, "o1")
    stale = [await inbox.next() for inbox in inboxes]
    await world.crash(dead)
    fresh = [(await consume(living, name))[0] for name in names]
    again = [await inbox.next() for inbox in fresh]

    took_effect = [
        await stale[0].ack(),
        await stale[1].retry(0, attempt=7, error="E"),
        await stale[2].dead_letter("rejected", error="E"),
        await stale[3].release(),
    ]

    assert took_effect == [False, False, False, False]
    for inbox, delivery in zip(fresh, again, strict=True):
        assert await delivery.retry(0, attempt=2, error="E")
        assert (await inbox.next()).attempt == 2
    assert await living.dead_letters("other", limit=10) == []


@claim
async def settling_takes_effect_once_and_tells_which_time_it_did(world: BusWorld) -> None:
    bus = await world.bus()
    inbox, _ = await consume(bus, "reader")
    await place(bus, "o1", "o2", "o3", "o4")
    acked, retried, buried, released = [await inbox.next() for _ in range(4)]

    first = [
        await acked.ack(),
        await retried.retry(30, attempt=2, error="E"),
        await buried.dead_letter("rejected", error="E"),
        await released.release(),
    ]
    second = [await each.ack() for each in (acked, retried, buried, released)]

    assert (first, second) == ([True] * 4, [False] * 4)
    assert await inbox.ids(1) == ["o4"]


@claim
async def a_retry_comes_after_its_delay_as_the_next_attempt(world: BusWorld) -> None:
    bus = await world.bus()
    inbox, _ = await consume(bus, "reader")
    loop = asyncio.get_running_loop()
    await place(bus, "o1")
    first = await inbox.next()

    began_s = loop.time()
    await first.retry(0.5, attempt=2, error="ValueError: not yet")
    second = await inbox.next()

    assert loop.time() - began_s >= 0.45
    assert second.message == first.message
    assert (second.attempt, second.crashes) == (2, 0)
    assert second.first_seen_us == first.first_seen_us


@claim
async def a_retry_holds_up_nobody_and_goes_to_its_own_subscriber_alone(world: BusWorld) -> None:
    bus = await world.bus()
    inbox, _ = await consume(bus, "reader", prefetch=1)
    other, _ = await consume(bus, "other")
    await place(bus, "o1", "o2")
    assert await other.ids(2) == ["o1", "o2"]
    delivery = await inbox.next()

    await delivery.retry(0.3, attempt=2, error="E")

    assert await inbox.ids(2) == ["o2", "o1"]
    await place(bus, "o3")
    assert await other.ids(1) == ["o3"]


@claim
async def an_event_is_retried_as_often_as_it_is_asked_for(world: BusWorld) -> None:
    bus = await world.bus()
    inbox, _ = await consume(bus, "reader")
    await place(bus, "o1")

    for attempt in range(2, 8):
        await (await inbox.next()).retry(0, attempt=attempt, error="E")

    assert (await inbox.next()).attempt == 7


@claim
async def no_more_than_the_prefetch_is_unsettled(world: BusWorld) -> None:
    bus = await world.bus()
    inbox, _ = await consume(bus, "reader", prefetch=3)
    probe, _ = await consume(bus, "probe", "order.paid")
    await place(bus, *(f"o{at}" for at in range(10)))
    for _ in range(3):
        await inbox.next()

    await bus.send(message("order.paid", b"{}", "p1"))
    await probe.ids(1)

    assert len(inbox.deliveries) == 3
    for delivery in inbox.deliveries[:]:
        await delivery.ack()
    assert await inbox.ids(7) == [f"o{at}" for at in range(3, 10)]


@claim
async def a_subscriber_that_settles_nothing_stops_no_other(world: BusWorld) -> None:
    bus = await world.bus()
    await consume(bus, "stuck", prefetch=1)
    lively, _ = await consume(bus, "lively", prefetch=1)

    await place(bus, *(f"o{at}" for at in range(30)))

    assert await lively.ids(30) == [f"o{at}" for at in range(30)]


@claim
async def two_processes_share_a_queue(world: BusWorld) -> None:
    one, two = await world.bus(), await world.bus()
    here, _ = await consume(one, "reader", prefetch=1)
    there, _ = await consume(two, "reader", prefetch=1)

    await place(one, "o1", "o2")

    ids = {(await inbox.next()).message.envelope.id for inbox in (here, there)}
    assert ids == {"o1", "o2"}
