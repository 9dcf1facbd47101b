"""The seam between brokers and everything else: what a bus promises, whatever carries its messages."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from daemon.events.model import EVERYTHING, Choice, DeadLetter, Message
from daemon.events.topology import Plan

REPLAY_PER_S = 100.0


@dataclass(frozen=True, slots=True)
class Subscription:
    """What one subscriber wants from the bus.

    Attributes:
        id: The subscriber's id; names its queue.
        patterns: Event names, or topic patterns.
        prefetch: How many deliveries may be unsettled at one time in this process.
        ordered: One at a time, in queue order, across all daemons.
        concurrency: How many of these are started at one time; the rest wait in this process.
    """

    id: str
    patterns: tuple[str, ...]
    prefetch: int
    ordered: bool = False
    concurrency: int = 1


class Delivery(Protocol):
    """One attempt to hand an event to a subscriber; it stays the receiver's until it settles it, once.

    A delivery that is not settled comes again, at the latest when this process has died. Settling tells whether it took
    effect. It did not (False) if the broker has taken the delivery back in the meantime, or it was settled before: the
    event comes again and is recognised by its id. True is no proof where the answer travels over a connection that is
    lost before it arrives.
    """

    @property
    def message(self) -> Message:
        """The event."""

    @property
    def subscriber(self) -> str:
        """Whose queue it came from."""

    @property
    def attempt(self) -> int:
        """Which try this is, counted over retries; 1 is the first."""

    @property
    def first_seen_us(self) -> int:
        """When the event first reached this subscriber, in microseconds since the epoch."""

    @property
    def redelivered(self) -> bool:
        """Whether it may have been started before without an end (a crash, a lost connection)."""

    @property
    def crashes(self) -> int:
        """How often it was started before and never ended, as far as the bus can tell; 0 where it cannot."""

    async def ack(self) -> bool:
        """The event is done. Returns once that is durable, or handed to a connection that may yet lose it."""

    async def retry(self, delay_s: float, *, attempt: int, error: str) -> bool:
        """Deliver it again after `delay_s` seconds as the given attempt. Durable before the original is let go."""

    async def dead_letter(self, reason: str, *, error: str, traceback: str = "") -> bool:
        """Give it up, with its reason. Durable before the original is let go."""

    async def release(self) -> bool:
        """Put a delivery back for somebody else: not counted as an attempt, nor as a crash."""


class Consumer(Protocol):
    """One subscriber's supervised consumption; survives every loss of the connection by itself."""

    @property
    def ready(self) -> bool:
        """Whether the broker confirmed the consumption and it still stands."""

    @property
    def trouble(self) -> str:
        """Why it is out of service, in one sentence without secrets; empty if it is not."""

    async def cancel(self) -> None:
        """Take nothing more. What was received may still be settled; what was not handed on is released."""


@dataclass(frozen=True, slots=True)
class QueueState:
    """What a subscriber's queue looks like from outside; None is not known."""

    subscriber: str
    ready: int | None
    in_flight: int | None
    consumers: int | None
    dead: int | None


@dataclass(frozen=True, slots=True)
class Fare:
    """How a subscriber fares in this process.

    Attributes:
        state: `consuming`; `paused` by its kill switch; `out_of_service`; or `off`, by the configuration.
        trouble: Why it is out of service, in one sentence without secrets; may be empty.
        in_flight: How many of its events are being handled here, or wait to be.
    """

    state: str
    trouble: str
    in_flight: int


class Bus(Protocol):
    """Carries events from whoever publishes to every subscriber that wants them, at least once.

    Guarantees: `send` returns once the event is durable and on the queue of every subscriber that is
    bound to its name; a delivery that was not settled comes again; retries and dead letters are durable before the
    original is let go; one subscriber's trouble never stops another. Order is kept for ordered subscriptions only.
    """

    async def start(self) -> None:
        """Begin to connect; does not wait for a broker that is away."""

    async def aclose(self) -> None:
        """Disconnect. Unsettled deliveries come again elsewhere."""

    @property
    def connected(self) -> bool:
        """Whether the broker (or store) answers at the moment."""

    async def send(self, message: Message) -> bool:
        """Publish a message and return once it is durable; tell whether any queue was bound to its name.

        Sending it again with the same id is one event to every subscriber.

        Raises:
            BrokerUnavailableError: Whether it was taken is unknown; send it again with the same id.
        """

    async def declare(self, subscriptions: Sequence[Subscription]) -> None:
        """Make sure that queues and bindings are there, so that nothing published from now on is lost; no consuming."""

    def expect(self, subscribers: Sequence[str]) -> None:
        """Send nothing before these were subscribed: a broker that is new or was emptied has no queues of theirs."""

    async def subscribe(self, subscription: Subscription, receive: Callable[[Delivery], None]) -> Consumer:
        """Consume: `receive` gets each delivery in the event loop, must not block, and only takes it over.

        Declares what is missing. Returns at once, also while the broker is away; the consumer's `ready` tells.
        """

    async def taken_away(self) -> Collection[Delivery]:
        """Return what was handed on here, is not settled, and has another process by now, which took this one for dead.

        Only what is so for certain: what a broker takes back from a lost connection it may deliver here once more.
        """

    async def queues(self, subscribers: Sequence[str]) -> list[QueueState]:
        """Return the state of these subscribers' queues."""

    async def plan(self, subscriptions: Sequence[Subscription], *, known: Collection[str] = ()) -> Plan:
        """Compare what is there with what these need; creates and changes nothing.

        `known` names more subscribers whose queues are no orphans, as those that are turned off.
        """

    async def apply(self, subscriptions: Sequence[Subscription], *, known: Collection[str] = ()) -> Plan:
        """Bring about what is missing, unbind what is not wanted, delete nothing; return how things stand then."""

    async def dead_letters(self, subscriber: str, choice: Choice = EVERYTHING, *, limit: int) -> list[DeadLetter]:
        """Return a subscriber's first dead letters that are meant, oldest first; looking never deletes."""

    async def replay(self, subscriber: str, choice: Choice = EVERYTHING, *, per_s: float = REPLAY_PER_S) -> int:
        """Put dead letters back on their subscriber's queue as attempt 1; return how many.

        One by one, oldest first, at most `per_s` a second: what they died of may not be ready for all of them at once.
        Each is on its queue before it is no dead letter any more, so what interrupts this loses none, and the rest may
        be replayed again. While one replay goes on, another may not see what that one looks at.
        """

    async def discard(self, subscriber: str, choice: Choice = EVERYTHING) -> int:
        """Delete dead letters for good; return how many."""
