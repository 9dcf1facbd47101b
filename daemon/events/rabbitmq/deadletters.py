"""Dead letters: seen, replayed, discarded."""

from collections.abc import Awaitable, Callable
from typing import Any

from aio_pika.exceptions import ChannelNotFoundEntity

from daemon.clock import Clock, to_us
from daemon.errors import BrokerUnavailableError, UnroutableError
from daemon.events.model import Choice, DeadLetter, DeadReason
from daemon.events.pace import Pace
from daemon.events.rabbitmq import headers, wire
from daemon.events.rabbitmq.connection import Link, call, close
from daemon.events.rabbitmq.identity import fingerprint
from daemon.events.rabbitmq.outgoing import republished
from daemon.events.rabbitmq.publisher import HeadersTooLargeError, Publisher
from daemon.events.rabbitmq.topology import Topology
from daemon.events.rabbitmq.transport import underlay_of
from daemon.store.port import Store
from daemon.store.writes import ForgetReceipt

UNKNOWN = "unknown"


class DeadLetters:
    """Works on the queues of dead letters, each time on a channel of its own: closing it puts back whatever is left."""

    def __init__(self, link: Link, *, topology: Topology, publisher: Publisher, store: Store, clock: Clock) -> None:
        self._link = link
        self._store = store
        self._topology = topology
        self._publisher = publisher
        self._clock = clock

    async def look(self, subscriber: str, choice: Choice, *, limit: int) -> list[DeadLetter]:
        """Return the first that are meant, oldest first."""
        found: list[DeadLetter] = []

        async def keep(incoming: wire.Incoming) -> bool:
            letter = described(incoming, subscriber, now_us=self._clock.now_us())
            if choice.wants(letter):
                found.append(letter)
            return False

        await self._each(subscriber, keep, enough=lambda: len(found) >= limit)
        return found

    async def replay(self, subscriber: str, choice: Choice, *, per_s: float) -> int:
        """Put dead letters back on their subscriber's queue; each is durable there before it is taken from here."""
        queue = self._topology.queue(subscriber)
        pace = Pace(self._clock, per_s)

        async def put_back(incoming: wire.Incoming) -> bool:
            letter = described(incoming, subscriber, now_us=0)
            if not choice.wants(letter):
                return False
            await pace.turn()
            if letter.reason == DeadReason.CRASHED:  # how often it was started is known until now, and begins anew
                identity = letter.source, letter.event_name, letter.event_id
                await self._store.commit(ForgetReceipt(self._topology.app, subscriber, *identity))
            properties = republished(incoming, letter.event_id)
            # The event's name: it goes straight to the queue, so its routing key no longer tells.
            properties.set_header(headers.ROUTING_KEY, letter.event_name)
            try:
                routed = await self._publisher.publish("", queue, properties, incoming.body)
            except HeadersTooLargeError as error:
                raise BrokerUnavailableError(f"Event {letter.event_id!r} cannot be replayed: {error}") from error
            if not routed:
                raise UnroutableError(f"There is no queue {queue!r} to replay to: start a daemon with that subscriber.")
            return True

        return await self._each(subscriber, put_back)

    async def discard(self, subscriber: str, choice: Choice) -> int:
        """Delete dead letters."""

        async def drop(incoming: wire.Incoming) -> bool:
            return choice.everything or choice.wants(described(incoming, subscriber, now_us=0))

        return await self._each(subscriber, drop)

    async def _each(
        self,
        subscriber: str,
        take: Callable[[wire.Incoming], Awaitable[bool]],
        *,
        enough: Callable[[], bool] = lambda: False,
    ) -> int:
        """Show each of those that are there now to `take`, and delete those that it takes; return how many."""
        queue = self._topology.dead(subscriber)
        what = f"read the queue {queue!r}"
        taken = 0
        seen: list[int] = []
        there: int | None = None
        channel = await self._link.channel()
        try:
            underlay = await underlay_of(channel)
            while (there is None or there > 0) and not enough():
                got = await call(underlay.basic_get(queue), what)
                if got.delivery_tag is None:
                    break
                # What dies while we are at it, perhaps of being replayed, is not for this time.
                there = (got.message_count or 0) if there is None else there - 1
                if await take(wire.Incoming.of(got, queue)):
                    await call(underlay.basic_ack(got.delivery_tag, wait=False), what)
                    taken += 1
                else:
                    seen.append(got.delivery_tag)
            # One by one, for so they keep their order; those that an error leaves over go back with the channel.
            for tag in seen:
                await call(underlay.basic_nack(tag, requeue=True, wait=False), what)
        except ChannelNotFoundEntity:
            return 0  # nobody was ever subscribed, so nothing died
        finally:
            await close(channel)
        return taken


def described(incoming: wire.Incoming, subscriber: str, *, now_us: int) -> DeadLetter:
    """Return what a dead letter says of itself; of one that the broker made, what the broker noted."""
    properties = incoming.properties
    death = _first_death(properties.header("x-death"))
    event_id, name = wire.identify(incoming)
    source = ""
    try:
        readable = wire.decode(
            incoming, now_us=now_us, max_payload_bytes=len(incoming.body), missing_id=lambda: fingerprint(incoming)
        )
        event_id, source = readable.envelope.id, readable.envelope.source
    except wire.UndecodableError:
        pass
    if incoming.origin[1] == incoming.routing_key:
        name = str(next(iter(death.get("routing-keys") or ()), UNKNOWN))
    died = wire.moment(properties.header(headers.DEAD_AT)) or wire.moment(death.get("time"))
    dead_us = to_us(died) if died else now_us
    seen = wire.moment(properties.header(headers.FIRST_SEEN))
    attempts = properties.header(headers.ATTEMPTS)
    return DeadLetter(
        subscriber=subscriber,
        event_id=event_id or fingerprint(incoming),
        event_name=name,
        source=source,
        body=incoming.body,
        headers=headers.scalars(properties),
        reason=str(properties.header(headers.REASON) or death.get("reason") or UNKNOWN),
        error=str(properties.header(headers.ERROR) or ""),
        traceback=str(properties.header(headers.TRACEBACK) or ""),
        attempts=attempts if isinstance(attempts, int) else 0,
        first_seen_us=to_us(seen) if seen else dead_us,
        dead_us=dead_us,
    )


def _first_death(deaths: Any) -> dict[str, Any]:
    """Return the latest of the broker's notes, which come latest first."""
    return next((death for death in deaths if isinstance(death, dict)), {}) if isinstance(deaths, list) else {}
