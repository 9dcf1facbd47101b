"""What a dispatcher remembers of events that it is through with, for when they come again nevertheless."""

from collections.abc import Callable, Hashable
from typing import TypeVar

from daemon.events.bus import Delivery
from daemon.events.handling import Identity, identity_of
from daemon.events.verdict import Verdict

KEPT_MIN = 128

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recall:
    """The latest ends of one subscriber's handlings, by the events' identity; bounded, the oldest are forgotten first.

    What can come back although it was settled is what was unsettled at one time, which is the prefetch; twice that
    outlasts two lost channels in a row.

    Args:
        prefetch: Tells how many deliveries may be unsettled at one time.
    """

    def __init__(self, prefetch: Callable[[], int]) -> None:
        self._prefetch = prefetch
        self._handled: dict[Identity, int] = {}  # with the body's hash
        self._verdicts: dict[Identity, tuple[int, Verdict]] = {}  # with the attempt that they are on

    def done(self, delivery: Delivery) -> None:
        """Note that the subscriber is done with this event for good."""
        self._put(self._handled, identity_of(delivery), hash(delivery.message.body))

    def body_hash(self, identity: Identity) -> int | None:
        """Return the hash of the body of an event that it is done with; None for any other event."""
        return self._handled.get(identity)

    def unsettled(self, delivery: Delivery, verdict: Verdict) -> None:
        """Note that the broker did not learn of this verdict: the delivery comes again, and is to end with it."""
        self._put(self._verdicts, identity_of(delivery), (delivery.attempt, verdict))

    def verdict_on(self, delivery: Delivery) -> Verdict | None:
        """Return the verdict that the broker did not learn of, once; None if this delivery has none yet.

        A later attempt has none, and neither has one that was never delivered before: a dead letter that is replayed.
        """
        attempt, verdict = self._verdicts.pop(identity_of(delivery), (0, None))
        return verdict if delivery.redelivered and delivery.attempt <= attempt else None

    def _put(self, kept: dict[K, V], key: K, value: V) -> None:
        kept.pop(key, None)  # so that it is the newest
        kept[key] = value
        if len(kept) > max(KEPT_MIN, 2 * self._prefetch()):
            del kept[next(iter(kept))]
