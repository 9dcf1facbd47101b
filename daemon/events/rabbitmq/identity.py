"""Ids for events whose publisher gave none."""

import hashlib
from collections import OrderedDict, deque

from daemon.clock import new_id
from daemon.events.rabbitmq.codec import Properties
from daemon.events.rabbitmq.wire import Incoming, is_technical

LOST_MAX = 10_000


def fingerprint(incoming: Incoming) -> str:
    """Return what two deliveries of one message have in common: routing key, properties and body."""
    headers = {key: value for key, value in incoming.properties.headers.items() if not is_technical(key)}
    digest = hashlib.blake2b(digest_size=16)
    digest.update(incoming.origin[1].encode())
    digest.update(Properties(incoming.properties.fields, headers).marshal())
    digest.update(incoming.body)
    return digest.hexdigest()


class AnonymousIds:
    """Finds the id again that a message without one was given when it was delivered first.

    Two equal messages are two events; so a redelivered one gets the oldest id of those that were delivered here and
    never finished, each once. Forgets the oldest beyond 10,000: those went to other consumers.
    """

    def __init__(self) -> None:
        self._lost: OrderedDict[str, deque[str]] = OrderedDict()
        self._count = 0

    def assign(self, mark: str, *, redelivered: bool, now_us: int) -> str:
        """Return the id for a delivery with this fingerprint."""
        waiting = self._lost.get(mark) if redelivered else None
        if not waiting:
            return new_id(now_us)
        self._count -= 1
        event_id = waiting.popleft()
        if not waiting:
            del self._lost[mark]
        return event_id

    def lose(self, mark: str, event_id: str) -> None:
        """Note that a delivery ended without being settled: it will come again."""
        self._lost.setdefault(mark, deque()).append(event_id)
        self._count += 1
        if self._count > LOST_MAX:
            _, forgotten = self._lost.popitem(last=False)
            self._count -= len(forgotten)
