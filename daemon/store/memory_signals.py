"""Signals in this process's memory."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import islice, takewhile

from daemon.store.model import Signal


class MemorySignals:
    """Signals by the position at which they were stored, and by topic. They are replaced, and never changed."""

    def __init__(self) -> None:
        self.last = 0
        self._by_position: dict[int, Signal] = {}  # ascending
        self._topics: defaultdict[tuple[str, str], dict[str, int]] = defaultdict(dict)

    def put(self, signal: Signal) -> None:
        """Keep a signal; does nothing if it is there."""
        positions = self._topics[signal.app, signal.topic]
        if signal.id not in positions:
            self.last += 1
            self._by_position[self.last] = signal
            positions[signal.id] = self.last

    def first(self, app: str, topic: str, since_us: int, *, after: int = 0) -> Signal | None:
        """Return the first signal of a topic that came at or after a time, and that was stored after a position."""
        positions = [each for each in self._topics.get((app, topic), {}).values() if each > after]
        found = [signal for signal in map(self._by_position.__getitem__, positions) if signal.at_us >= since_us]
        return min(found, key=lambda signal: signal.at_us, default=None)

    def topics(self, app: str, *, after: int) -> set[str]:
        """Return of which topics signals were stored after a position."""
        latest = takewhile(lambda position: position > after, reversed(self._by_position))
        return {signal.topic for signal in map(self._by_position.__getitem__, latest) if signal.app == app}

    def prune(self, app: str, *, topic_prefix: str, before_us: int, limit: int) -> int:
        """Forget old signals."""
        positions = list(islice(self._old(app, topic_prefix, before_us), limit))
        for position in positions:
            signal = self._by_position.pop(position)
            of_topic = self._topics[signal.app, signal.topic]
            del of_topic[signal.id]
            if not of_topic:
                del self._topics[signal.app, signal.topic]
        return len(positions)

    def _old(self, app: str, topic_prefix: str, before_us: int) -> Iterator[int]:
        for position, signal in self._by_position.items():
            if signal.app == app and signal.at_us < before_us and signal.topic.startswith(topic_prefix):
                yield position
