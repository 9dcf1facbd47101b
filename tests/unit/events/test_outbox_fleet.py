"""Several processes on one store: each relays what it staged itself, and what was left by those that are gone."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from daemon.clock import ManualClock
from daemon.events.model import Message, message_of, pack
from daemon.events.outbox import Outbox
from daemon.store.memory import MemoryStore
from daemon.store.model import OutgoingEvent
from daemon.store.writes import StageEvent
from tests.unit.events.watched import WatchedBus

HOLD_TURNS = 50
LEASE_S = 6.0
MANY = 2_500


class HeldBus(WatchedBus):
    """Sends nothing while it is held."""

    def __init__(self, store: MemoryStore, clock: ManualClock) -> None:
        super().__init__(store, clock)
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def send(self, message: Message) -> bool:
        await self.goes_on.wait()
        return await super().send(message)


class Process:
    """One that relays what it stages, on a store and at a time that it shares with others."""

    def __init__(self, owner: str, store: MemoryStore, clock: ManualClock) -> None:
        self.owner = owner
        self.bus = HeldBus(store, clock)
        self.leased_until_s = 0.0
        self.spares = False
        self._store = store
        self._clock = clock
        self.outbox = Outbox(
            store,
            self.bus,
            app="shop",
            owner=owner,
            clock=clock,
            is_leased=lambda: clock.monotonic_s() < self.leased_until_s,
            may_take_over=lambda: not self.spares and clock.monotonic_s() < self.leased_until_s,
        )

    async def live(self) -> None:
        """Renew the lease."""
        await self._store.register("shop", self.owner, lease_s=LEASE_S)
        self.leased_until_s = self._clock.monotonic_s() + LEASE_S

    async def stage(self, *ids: str, origin: str = "run-1", first: int = 1, owner: str | None = None) -> None:
        """Stage events of one origin, as the process that it is or as another one."""
        for seq, id in enumerate(ids, first):
            packed = pack(message_of("order.noted", b"{}", source="shop", now_us=0, id=id))
            event = OutgoingEvent(id, "shop", origin, seq, packed, 0, self.owner if owner is None else owner)
            await self._store.commit(StageEvent(event))

    async def relay(self) -> list[str]:
        """Look for what was staged; return all that was sent so far."""
        self.outbox.poke()
        return await self.sent()

    async def sent(self) -> list[str]:
        """Return all that was sent so far, once nothing more is sent by itself."""
        seen = -1
        while seen != len(self.bus.sent):
            seen = len(self.bus.sent)
            for _ in range(HOLD_TURNS):
                await asyncio.sleep(0)
        return self.bus.sent


class Fleet:
    """Two processes."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.one = Process("one", self.store, self.clock)
        self.two = Process("two", self.store, self.clock)

    async def start(self) -> None:
        for each in (self.one, self.two):
            await each.live()
            await each.outbox.start()
            await each.sent()

    async def later(self, seconds: float, *alive: Process) -> None:
        """Have time pass, at the beginning and the end of which these live."""
        for each in alive:
            await each.live()
        self.clock.advance(timedelta(seconds=seconds))
        for each in alive:
            await each.live()
        for each in (self.one, self.two):
            await each.sent()

    async def left(self) -> list[str]:
        return [each.id for each in await self.store.outgoing("shop", limit=MANY)]


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    made = Fleet()
    await made.start()
    yield made
    for each in (made.one, made.two):
        each.bus.goes_on.set()
        await each.outbox.aclose()


async def test_two_that_relay_at_the_same_time_send_every_event_once(fleet: Fleet) -> None:
    ones = [f"one-{number}" for number in range(700)]
    twos = [f"two-{number}" for number in range(700)]
    for one, two in zip(ones, twos, strict=True):
        await fleet.one.stage(one, origin=one)
        await fleet.two.stage(two, origin=two)

    for each in (fleet.one, fleet.two):
        each.outbox.poke()
    await fleet.later(10, fleet.one, fleet.two)

    assert sorted(fleet.one.bus.sent) == sorted(ones)
    assert sorted(fleet.two.bus.sent) == sorted(twos)
    assert await fleet.left() == []


async def test_what_nobody_owns_is_relayed_by_one_of_them_however_much_it_is(fleet: Fleet) -> None:
    ids = [f"e{number}" for number in range(MANY)]
    for id in ids:
        await fleet.one.stage(id, origin=id, owner="")

    await fleet.later(2, fleet.one, fleet.two)

    assert sorted(fleet.one.bus.sent + fleet.two.bus.sent) == sorted(ids)
    assert await fleet.left() == []


async def test_what_a_dead_process_left_is_relayed_once_its_lease_is_over(fleet: Fleet) -> None:
    fleet.one.bus.goes_on.clear()
    await fleet.one.stage("e1", "e2")
    await fleet.later(3, fleet.two)
    before = list(fleet.two.bus.sent)

    await fleet.later(4, fleet.two)

    assert before == []
    assert fleet.two.bus.sent == ["e1", "e2"]


async def test_what_a_process_leaves_that_ends_is_relayed_at_the_next_look(fleet: Fleet) -> None:
    fleet.one.bus.away = True
    await fleet.one.stage("e1")
    await fleet.one.relay()
    await fleet.one.outbox.aclose()
    await fleet.store.retire("one")

    await fleet.later(2, fleet.two)

    assert fleet.two.bus.sent == ["e1"]


async def test_a_zombie_sends_nothing_more_of_what_another_has_taken_over(fleet: Fleet) -> None:
    fleet.one.bus.goes_on.clear()
    await fleet.one.stage("e1", "e2", "e3")
    await fleet.one.relay()
    await fleet.later(7, fleet.two)
    taken_over = list(fleet.two.bus.sent)

    fleet.one.bus.goes_on.set()  # with `e1` under way, where it stopped
    as_zombie = list(await fleet.one.sent())
    await fleet.one.live()
    await fleet.one.stage("e4", first=4)
    await fleet.later(5, fleet.one, fleet.two)

    assert taken_over == ["e1", "e2", "e3"]
    assert as_zombie == ["e1"]
    assert fleet.one.bus.sent == ["e1", "e4"]
    assert fleet.two.bus.sent == ["e1", "e2", "e3"]
    assert await fleet.left() == []


async def test_an_origin_that_changes_hands_is_sent_in_order_though_its_former_owner_lives(fleet: Fleet) -> None:
    fleet.one.bus.away = True
    await fleet.one.stage("e1")
    await fleet.one.relay()
    await fleet.two.stage("e2", first=2)
    await fleet.two.stage("other", origin="run-2")
    meanwhile = list(await fleet.two.relay())

    fleet.one.bus.away = False
    await fleet.later(1, fleet.one, fleet.two)
    await fleet.later(2, fleet.one, fleet.two)

    assert meanwhile == ["other"]
    assert (fleet.one.bus.sent, fleet.two.bus.sent) == (["e1"], ["other", "e2"])


async def test_what_was_taken_over_goes_before_what_is_later_in_its_origin(fleet: Fleet) -> None:
    fleet.one.bus.away = True
    await fleet.one.stage("e1", "e2")
    await fleet.two.stage("e3", "e4", first=3)
    await fleet.two.relay()

    await fleet.later(9, fleet.two)

    assert fleet.two.bus.sent == ["e1", "e2", "e3", "e4"]


async def test_nothing_is_taken_over_while_others_may_be_about_to_say_that_they_live(fleet: Fleet) -> None:
    fleet.one.spares = fleet.two.spares = True
    await fleet.one.stage("e1", owner="gone")
    await fleet.later(5, fleet.two)
    spared = list(fleet.two.bus.sent)

    fleet.two.spares = False
    await fleet.later(5, fleet.two)

    assert spared == []
    assert fleet.two.bus.sent == ["e1"]
