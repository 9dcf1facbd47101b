"""What one process consumes: for each subscriber that is turned on, its dispatcher, and its consumer on the bus."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from daemon.events.bus import Bus, Consumer, Fare, Subscription
from daemon.events.dispatch import Dispatcher
from daemon.events.handling import Surroundings
from daemon.events.subscriber import Subscriber


class Consumption:
    """Consumes for an application's subscribers, and goes on with what a subscriber began that is turned off meanwhile.

    Attributes:
        dispatchers: Of the subscribers that are turned on, by id.
        consumers: What each of them has on the bus, and what for.

    Args:
        bus: Where events come from.
        around: What handlers are given.
    """

    def __init__(self, bus: Bus, around: Surroundings) -> None:
        self.dispatchers: dict[str, Dispatcher] = {}
        self.consumers: dict[str, tuple[Subscription, Consumer]] = {}
        self._bus = bus
        self._around = around
        self._retired: dict[str, Dispatcher] = {}

    @property
    def subscriptions(self) -> list[Subscription]:
        """What the subscribers that are turned on want from the bus."""
        return [self._subscription(each) for each in self.dispatchers.values()]

    @property
    def readiness(self) -> dict[str, bool]:
        """Whether the bus has confirmed each subscriber's consumer."""
        return {name: consumer.ready for name, (_, consumer) in self.consumers.items()}

    def want(self, subscribers: Iterable[Subscriber[Any]], options: Callable[[str], Mapping[str, Any]]) -> None:
        """Turn these on, and all others off, with the options of each; `consume` has the bus follow."""
        wanted = {each.id: each for each in subscribers}
        for name in set(self.dispatchers) - set(wanted):
            self._retired[name] = self.dispatchers.pop(name)
        for name, subscriber in wanted.items():
            # One that was turned off goes on where it is: an event that it is still at must not be started once more.
            dispatcher = self.dispatchers.get(name) or self._retired.pop(name, None)
            if dispatcher is None:
                self.dispatchers[name] = Dispatcher(subscriber, self._around, options=options(name))
            else:
                self.dispatchers[name] = dispatcher
                dispatcher.subscriber, dispatcher.options = subscriber, options(name)

    async def declare(self) -> None:
        """Make sure that every subscriber has its queue, so that nothing published from now on is lost."""
        await self._bus.declare(self.subscriptions)

    async def consume(self) -> None:
        """Consume for every subscriber that is not consumed for yet, and no longer for those that are gone."""
        for name, (subscription, consumer) in list(self.consumers.items()):
            dispatcher = self.dispatchers.get(name)
            if dispatcher is None or self._subscription(dispatcher) != subscription:
                await consumer.cancel()
                del self.consumers[name]
        for name, dispatcher in self.dispatchers.items():
            if name not in self.consumers:
                subscription = self._subscription(dispatcher)
                self.consumers[name] = subscription, await self._bus.subscribe(subscription, dispatcher.receive)
        self._retired = {name: each for name, each in self._retired.items() if not each.retire()}

    async def confirm(self) -> None:
        """Let go of what others have taken over while this process's lease was over."""
        taken = set(await self._bus.taken_away())
        for dispatcher in self.all_dispatchers():
            dispatcher.confirm(taken)

    async def quiesce(self) -> None:
        """Take nothing new from now on."""
        async with asyncio.TaskGroup() as group:
            for _, consumer in self.consumers.values():
                group.create_task(consumer.cancel())

    async def drain(self, grace_s: float) -> None:
        """Let handlers end, and cancel those that have not after `grace_s` seconds."""
        async with asyncio.TaskGroup() as group:
            for dispatcher in self.all_dispatchers():
                group.create_task(dispatcher.drain(grace_s))

    def all_dispatchers(self) -> list[Dispatcher]:
        """Return the dispatchers that have something to do, those whose subscriber was turned off included."""
        return [*self.dispatchers.values(), *self._retired.values()]

    def fares(self, names: Iterable[str]) -> dict[str, Fare]:
        """Return how each subscriber fares in this process, those that are turned off included."""
        in_flight = Counter[str]()
        for each in self.all_dispatchers():
            in_flight[each.subscriber.id] += each.in_flight
        return {name: Fare(*self._state(name), in_flight[name]) for name in names}

    def _state(self, name: str) -> tuple[str, str]:
        dispatcher = self.dispatchers.get(name)
        if dispatcher is None:
            return "off", ""
        _, consumer = self.consumers.get(name, (None, None))
        if consumer is None or not consumer.ready:
            away = "" if self._bus.connected else "The broker does not answer."
            return "out_of_service", (consumer.trouble if consumer else "") or away
        return "paused" if dispatcher.paused else "consuming", ""

    def _subscription(self, dispatcher: Dispatcher) -> Subscription:
        return dispatcher.subscriber.subscription(self._around.prefetch)
