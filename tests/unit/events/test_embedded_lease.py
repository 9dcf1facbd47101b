"""A process whose lease may be over: others would take from it again what it takes."""

import asyncio
from datetime import timedelta

from daemon.clock import ManualClock
from daemon.events.bus import Delivery, Subscription
from daemon.events.embedded import EmbeddedBus
from daemon.events.model import Envelope, Message
from daemon.store.memory import MemoryStore

HEAL_S = 3.0
LEASE_S = 6.0
TURNS = 50


async def test_nothing_is_taken_while_the_lease_may_be_over_and_everything_once_it_is_renewed() -> None:
    clock, store, taken = ManualClock(), MemoryStore(), list[Delivery]()
    leased = False
    await store.open()
    bus = EmbeddedBus(store, app="shop", owner="me", clock=clock, look_s=HEAL_S, is_leased=lambda: leased)
    await bus.start()
    await bus.subscribe(Subscription("greet", ("customer.*",), prefetch=10), taken.append)
    await send(bus, "e1")

    await turns()
    before = list(taken)
    leased = True
    clock.advance(timedelta(seconds=HEAL_S))
    await turns()
    await bus.aclose()

    assert before == []
    assert ids(taken) == ["e1"]


async def test_what_another_process_took_after_the_lease_is_told_and_what_is_ours_stays_so() -> None:
    clock, mine, theirs = ManualClock(), list[Delivery](), list[Delivery]()
    store = MemoryStore(clock)
    await store.open()
    me, they = (EmbeddedBus(store, app="shop", owner=owner, clock=clock) for owner in ("me", "they"))
    await store.register("shop", "me", lease_s=LEASE_S)
    await me.start()
    await me.subscribe(Subscription("greet", ("customer.*",), prefetch=10), mine.append)
    await send(me, "e1", "e2")
    await mine[0].ack()

    before = await me.taken_away()
    clock.advance(timedelta(seconds=LEASE_S))
    await store.register("shop", "they", lease_s=LEASE_S)
    await they.start()
    await they.subscribe(Subscription("greet", ("customer.*",), prefetch=1), theirs.append)
    await turns()
    await store.register("shop", "me", lease_s=LEASE_S)
    await send(me, "e3")
    after = await me.taken_away()
    took_effect = [await each.ack() for each in (*mine, *theirs)]
    await me.aclose()
    await they.aclose()

    assert (before, after) == ([], [mine[1]])
    assert [ids(mine), ids(theirs)] == [["e1", "e2", "e3"], ["e2"]]
    assert took_effect == [False, False, True, True]


async def send(bus: EmbeddedBus, *ids: str) -> None:
    for id in ids:
        await bus.send(Message(Envelope(id, "customer.created", ManualClock().now(), "crm"), b"{}"))
    await turns()


def ids(deliveries: list[Delivery]) -> list[str]:
    return [each.message.envelope.id for each in deliveries]


async def turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)
