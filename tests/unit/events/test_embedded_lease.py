"""A process whose lease may be over: others would take from it again what it takes."""

import asyncio
from datetime import timedelta

from daemon.clock import ManualClock
from daemon.events.bus import Delivery, Subscription
from daemon.events.embedded import EmbeddedBus
from daemon.events.model import Envelope, Message
from daemon.store.memory import MemoryStore

HEAL_S = 3.0
TURNS = 50


async def test_nothing_is_taken_while_the_lease_may_be_over_and_everything_once_it_is_renewed() -> None:
    clock, store, taken = ManualClock(), MemoryStore(), list[Delivery]()
    leased = False
    await store.open()
    bus = EmbeddedBus(store, app="shop", owner="me", clock=clock, look_s=HEAL_S, is_leased=lambda: leased)
    await bus.start()
    await bus.subscribe(Subscription("greet", ("customer.*",), prefetch=10), taken.append)
    await bus.send(Message(Envelope("e1", "customer.created", clock.now(), "crm"), b"{}"))

    await turns()
    before = list(taken)
    leased = True
    clock.advance(timedelta(seconds=HEAL_S))
    await turns()
    await bus.aclose()

    assert before == []
    assert [each.message.envelope.id for each in taken] == ["e1"]


async def turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)
