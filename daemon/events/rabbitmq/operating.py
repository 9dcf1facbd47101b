"""What operators ask of the broker: depths, plans, dead letters; on a connection of its own.

Whatever that brings about, large dead letters, a queue over which the broker closes the connection, or just very
many questions, costs nobody an event: what consumes and what publishes does not notice. The connection is made when
something is asked for the first time, and stays.
"""

from collections.abc import Callable, Collection, Sequence

from daemon.clock import Clock
from daemon.errors import BrokerUnavailableError
from daemon.events.bus import QueueState, Subscription
from daemon.events.model import Choice, DeadLetter
from daemon.events.rabbitmq.connection import REFUSALS, Link, call, in_time
from daemon.events.rabbitmq.deadletters import DeadLetters
from daemon.events.rabbitmq.plan import Planner
from daemon.events.rabbitmq.publisher import Publisher
from daemon.events.rabbitmq.topology import Declare, Topology
from daemon.events.topology import Plan
from daemon.store.port import Store


class Operator:
    """Answers operators.

    Args:
        link: The connection, not started yet.
        topology: Declares on it.
        publisher: Publishes what is replayed.
        reachable: Tells whether the broker is there, as far as others know.
        timeout_s: How long to wait for the connection, in seconds.
    """

    def __init__(
        self,
        link: Link,
        *,
        topology: Topology,
        publisher: Publisher,
        store: Store,
        declare: Declare,
        clock: Clock,
        reachable: Callable[[], bool],
        timeout_s: float,
    ) -> None:
        self._link = link
        self._topology = topology
        self._planner = Planner(link, topology, declare=declare, memory=store)
        self._dead_letters = DeadLetters(link, topology=topology, publisher=publisher, store=store, clock=clock)
        self._reachable = reachable
        self._timeout_s = timeout_s
        self._started = False

    def nudge(self) -> None:
        """Try again at once to connect: somebody else has just reached the broker."""
        self._link.nudge()

    async def aclose(self) -> None:
        """Give up the connection."""
        await self._link.aclose()

    async def queues(self, subscribers: Sequence[str]) -> list[QueueState]:
        """Return the state of these subscribers' queues, as far as it can be told."""
        names = [name(each) for each in subscribers for name in (self._topology.queue, self._topology.dead)]
        depths: list[tuple[int | None, int | None]] = [(None, None)] * len(names)
        if self._link.connected or self._reachable():
            try:
                await self._up()
                depths = [await depth(self._link, name) for name in names]
            except BrokerUnavailableError:
                pass
        return [
            QueueState(each, ready=ready, in_flight=None, consumers=consumers, dead=dead)
            for each, (ready, consumers), (dead, _) in zip(subscribers, depths[::2], depths[1::2], strict=True)
        ]

    async def plan(self, subscriptions: Sequence[Subscription], known: Collection[str]) -> Plan:
        """Compare what is there with what is wanted."""
        await self._up()
        return await self._planner.plan(subscriptions, known)

    async def apply(self, subscriptions: Sequence[Subscription], known: Collection[str]) -> Plan:
        """Bring about what is missing, and return how things stand then."""
        await self._up()
        return await self._planner.apply(subscriptions, known)

    async def dead_letters(self, subscriber: str, choice: Choice, *, limit: int) -> list[DeadLetter]:
        """Return the first that are meant, oldest first."""
        await self._up()
        return await self._dead_letters.look(subscriber, choice, limit=limit)

    async def replay(self, subscriber: str, choice: Choice, *, per_s: float) -> int:
        """Put dead letters back on their subscriber's queue; return how many."""
        await self._up()
        return await self._dead_letters.replay(subscriber, choice, per_s=per_s)

    async def discard(self, subscriber: str, choice: Choice) -> int:
        """Delete dead letters; return how many."""
        await self._up()
        return await self._dead_letters.discard(subscriber, choice)

    async def _up(self) -> None:
        """Return when there is a connection.

        Raises:
            BrokerUnavailableError: There is none in time.
        """
        if not self._started:
            self._started = True
            self._link.start()
        await in_time(self._link.wait_up(), self._timeout_s, lambda: self._link.trouble)


async def depth(link: Link, queue: str) -> tuple[int | None, int | None]:
    """Return how many messages wait, and how many consumers there are; None for what cannot be told."""
    try:
        async with link.scratch() as channel:
            found = (await call(channel.get_queue(queue), f"find the queue {queue!r}")).declaration_result
    except (BrokerUnavailableError, *REFUSALS):
        return None, None
    return found.message_count, found.consumer_count
