"""What RabbitMQ has against what is wanted, found out without declaring anything.

Each thing is looked for first, and only what is there is declared once more: the broker answers with the difference, or
not at all. Bindings cannot be looked for: those count as there that the store remembers.
"""

import asyncio
import re
import shlex
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from aio_pika import ExchangeType, exceptions
from aio_pika.abc import AbstractChannel
from aiormq.exceptions import ChannelAccessRefused

from daemon.events.bus import Subscription
from daemon.events.rabbitmq.connection import REFUSALS, Link, call
from daemon.events.rabbitmq.topology import (
    DEAD_ARGUMENTS,
    TIERS_MS,
    Arguments,
    BindingMemory,
    Declare,
    Topology,
    explained,
    queue_arguments,
    wait_arguments,
)
from daemon.events.topology import Item, Plan, State

T = TypeVar("T")

_DEAD_LIMITS = '{"max-length":100000,"message-ttl":2592000000}'
_LATER = "The first retry that waits so long declares it."


class Planner:
    """Compares, and brings about what is missing; deletes nothing.

    Args:
        link: The connection to look with.
        topology: Knows what is wanted, and declares it.
        declare: `never` only looks.
        memory: What queues were bound to.
    """

    def __init__(self, link: Link, topology: Topology, *, declare: Declare, memory: BindingMemory) -> None:
        self._link = link
        self._topology = topology
        self._declare = declare
        self._memory = memory

    async def plan(self, subscriptions: Sequence[Subscription], known: Collection[str]) -> Plan:
        """Return what is there, and what is wanted.

        Args:
            subscriptions: What should be there.
            known: More subscribers whose queues are no orphans: those that are turned off.

        Raises:
            BrokerUnavailableError: The broker went away meanwhile.
        """
        topology = self._topology
        bound = await self._bound()
        work: list[Coroutine[Any, Any, list[Item]]] = [self._exchange(topology.exchange, ExchangeType.TOPIC)]
        work += [self._subscriber(each, bound.get(each.id, set())) for each in subscriptions]
        work += [self._tier(milliseconds) for milliseconds in TIERS_MS]
        wanted = {each.id for each in subscriptions} | set(known)
        work += [self._orphan(each, sorted(patterns)) for each, patterns in bound.items() if each not in wanted]
        items = [item for found in await _all(work) for item in found]
        return Plan(items, self._commands(items))

    async def apply(self, subscriptions: Sequence[Subscription], known: Collection[str]) -> Plan:
        """Declare and bind what is missing, unbind what is stale, and return how things stand then.

        Raises:
            BrokerUnavailableError: The broker went away meanwhile; what was done by then stays: do it again.
        """
        troubles: list[str] = []
        if self._declare == "missing":
            self._topology.forget()
            tiers = [self._topology.prepare_tier(milliseconds) for milliseconds in TIERS_MS]
            troubles = await _all([*(self._topology.prepare(each) for each in subscriptions), *tiers])
        plan = await self.plan(subscriptions, known)
        if self._declare == "missing":
            await self._forget_gone({each.id for each in subscriptions} | set(known), plan)
        explained_already = {item.detail for item in plan.items}
        left = dict.fromkeys(trouble for trouble in troubles if trouble and trouble not in explained_already)
        return Plan(plan.items, plan.commands, tuple(left))

    async def _forget_gone(self, wanted: set[str], plan: Plan) -> None:
        """Forget what queues were bound to that are neither wanted nor there any more."""
        there = {item.name for item in plan.of(State.ORPHAN)}
        for subscriber in await self._bound():
            mine = {self._topology.queue(subscriber), self._topology.dead(subscriber)}
            if subscriber not in wanted and not mine & there:
                await self._memory.bind(self._topology.app, subscriber, ())

    # --- looking ---

    async def _subscriber(self, subscription: Subscription, bound: set[str]) -> list[Item]:
        name, dead = self._topology.queue(subscription.id), self._topology.dead(subscription.id)
        queue = await self._queue(name, queue_arguments(dead, ordered=subscription.ordered))
        bindings = [self._binding(name, pattern, queue.state, bound) for pattern in subscription.patterns]
        stale = [
            Item(
                "binding",
                name,
                {"exchange": self._topology.exchange, "routing_key": pattern},
                State.STALE,
                "Its subscriber does not take this any more; the daemon unbinds it, too.",
            )
            for pattern in sorted(bound - set(subscription.patterns))
        ]
        return [queue, await self._queue(dead, DEAD_ARGUMENTS), *bindings, *stale]

    def _binding(self, queue: str, pattern: str, state: State, bound: set[str]) -> Item:
        wanted = {"exchange": self._topology.exchange, "routing_key": pattern}
        if state is State.MISSING:
            return Item("binding", queue, wanted, State.MISSING)
        if pattern in bound:
            return Item("binding", queue, wanted, State.OK)
        if self._declare == "never":
            return Item("binding", queue, wanted, State.UNKNOWN, "RabbitMQ does not tell, and it was not bound by us.")
        return Item("binding", queue, wanted, State.MISSING, "As far as is known: RabbitMQ does not tell.")

    async def _tier(self, milliseconds: int) -> list[Item]:
        name = self._topology.tier(milliseconds)
        [exchange] = await self._exchange(name, ExchangeType.FANOUT)
        queue = await self._queue(name, wait_arguments(milliseconds))
        state = State.MISSING if State.MISSING in (exchange.state, queue.state) else State.OK
        tier = [exchange, queue, Item("binding", name, {"exchange": name, "routing_key": ""}, state)]
        if self._declare == "never":
            return tier
        return [
            replace(item, state=State.LATER, detail=_LATER) if item.state is State.MISSING else item for item in tier
        ]

    async def _exchange(self, name: str, kind: ExchangeType) -> list[Item]:
        wanted = {"type": kind.value, "durable": True}
        state, detail = await self._compared(
            lambda channel: channel.get_exchange(name),
            lambda channel: channel.declare_exchange(name, kind, durable=True),
            f"the exchange {name!r}",
        )
        if state is State.DIFFERENT and "'type'" not in detail:
            # Somebody else's, perhaps; it can be published to, and bound to.
            state, detail = State.OK, f"It is used as it is. {detail.partition('. ')[0]}."
        return [Item("exchange", name, wanted, state, detail)]

    async def _queue(self, name: str, arguments: Arguments) -> Item:
        wanted = {"durable": True, "arguments": arguments}
        state, detail = await self._compared(
            lambda channel: channel.get_queue(name),
            lambda channel: channel.declare_queue(name, durable=True, arguments=dict(arguments)),
            f"the queue {name!r}",
        )
        return Item("queue", name, wanted, state, detail)

    async def _orphan(self, subscriber: str, patterns: list[str]) -> list[Item]:
        found = []
        for name in (self._topology.queue(subscriber), self._topology.dead(subscriber)):
            queue = await self._asked(lambda channel, name=name: channel.get_queue(name), f"find the queue {name!r}")  # type: ignore[misc]
            if isinstance(queue, exceptions.ChannelNotFoundEntity):
                continue
            waiting = "events wait there" if isinstance(queue, Exception) else _counted(queue)
            takes = "" if name.endswith(".dead") else f", and it goes on taking {', '.join(patterns)}"
            detail = f"No subscriber has the id {subscriber!r} any more; {waiting}{takes}."
            found.append(Item("queue", name, {}, State.ORPHAN, detail))
        return found

    async def _compared(
        self,
        find: Callable[[AbstractChannel], Awaitable[object]],
        declare: Callable[[AbstractChannel], Awaitable[object]],
        what: str,
    ) -> tuple[State, str]:
        error = await self._asked(find, f"find {what}")
        if isinstance(error, exceptions.ChannelNotFoundEntity):
            return State.MISSING, ""
        if isinstance(error, ChannelAccessRefused):
            return State.UNKNOWN, explained(error, f"find {what}")
        if not isinstance(error, exceptions.AMQPError):
            # It is there, so this creates nothing.
            error = await self._asked(declare, f"compare {what}")
        if isinstance(error, ChannelAccessRefused):
            return State.OK, "It is there; we may not compare its properties."
        if isinstance(error, exceptions.AMQPError):
            return State.DIFFERENT, explained(error, f"compare {what}")
        return State.OK, ""

    async def _asked(self, operation: Callable[[AbstractChannel], Awaitable[T]], what: str) -> T | exceptions.AMQPError:
        """Return the broker's answer, or what it has against the question."""
        try:
            async with self._link.scratch() as channel:
                return await call(operation(channel), what)
        except REFUSALS as error:
            return error

    async def _bound(self) -> dict[str, set[str]]:
        bound: dict[str, set[str]] = {}
        for subscriber, pattern in await self._memory.bindings(self._topology.app):
            bound.setdefault(subscriber, set()).add(pattern)
        return bound

    # --- what is for an administrator ---

    def _commands(self, items: Sequence[Item]) -> list[str]:
        vhost = ["--vhost", self._link.target.vhost]
        app = self._topology.app
        pattern = rf"^{re.escape(app)}\..+\.dead$"
        limits = ["rabbitmqctl", "set_policy", *vhost, "--apply-to", "queues", f"{app}-dead", pattern, _DEAD_LIMITS]
        orphans = [["rabbitmqctl", "delete_queue", *vhost, each.name] for each in items if each.state is State.ORPHAN]
        return [shlex.join(command) for command in (limits, *orphans)]


def definitions(items: Sequence[Item], vhost: str) -> dict[str, Any]:
    """Return what is missing, as `rabbitmqctl import_definitions` reads it."""
    place = {"vhost": vhost}
    kept: Mapping[str, list[dict[str, Any]]] = {"exchanges": [], "queues": [], "bindings": []}
    for item in items:
        if item.state not in (State.MISSING, State.LATER, State.UNKNOWN):
            continue
        if item.kind == "binding":
            ends = {"source": item.wanted["exchange"], "destination": item.name, "destination_type": "queue"}
            key = {"routing_key": item.wanted["routing_key"], "arguments": {}}
            kept["bindings"].append(place | ends | key)
        else:
            made = {"name": item.name, "auto_delete": False, "arguments": {}, **item.wanted}
            kept[f"{item.kind}s"].append(place | made | ({"internal": False} if item.kind == "exchange" else {}))
    return dict(kept)


async def _all(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Return the results in order; the first failure ends them all."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in work]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


def _counted(queue: Any) -> str:
    count = queue.declaration_result.message_count or 0
    return f"{count} event{' waits' if count == 1 else 's wait'} there"
