"""Queues of deliveries in this process's memory."""

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import inf

from daemon.store.memory_runs import Undo
from daemon.store.model import QueuedDelivery
from daemon.store.writes import Enqueue, Outcome, SettleDelivery, UpdateDelivery


@dataclass(slots=True)
class _Queue:
    """One subscriber's queue, by the `seq` of its deliveries.

    A delivery is either in `dead`, or in `line` and then either in `owned` or in `free`; all but `owned` are sorted.
    """

    line: list[int] = field(default_factory=list)
    free: list[tuple[int, int]] = field(default_factory=list)  # (due_us, seq)
    owned: set[int] = field(default_factory=set)
    dead: list[int] = field(default_factory=list)

    def add(self, delivery: QueuedDelivery) -> None:
        if delivery.reason:
            insort(self.dead, delivery.seq)
            return
        insort(self.line, delivery.seq)
        if delivery.owner:
            self.owned.add(delivery.seq)
        else:
            insort(self.free, (delivery.due_us, delivery.seq))

    def remove(self, delivery: QueuedDelivery) -> None:
        if delivery.reason:
            del self.dead[bisect_left(self.dead, delivery.seq)]
            return
        del self.line[bisect_left(self.line, delivery.seq)]
        if delivery.owner:
            self.owned.remove(delivery.seq)
        else:
            del self.free[bisect_left(self.free, (delivery.due_us, delivery.seq))]


class MemoryQueues:
    """Deliveries by `seq`, and where each stands on its subscriber's queue. What it hands out are copies.

    Args:
        hint: Called when a queue has changed.

    Attributes:
        last_seq: That of the delivery which was added last.
    """

    def __init__(self, hint: Callable[[], object]) -> None:
        self._hint = hint
        self.last_seq = 0
        self._deliveries: dict[int, QueuedDelivery] = {}
        self._queues: defaultdict[tuple[str, str], _Queue] = defaultdict(_Queue)

    def enqueue(self, write: Enqueue) -> None:
        """Add deliveries at the end of their queues."""
        for delivery in write.deliveries:
            self.last_seq += 1
            self._put(replace(delivery, seq=self.last_seq))
        self._hint()

    def settle(self, write: SettleDelivery, undo: Undo = None) -> Outcome | None:
        """Take a delivery off its queue."""
        before = self._deliveries.get(write.seq)
        if before is None or before.owner != write.owner:
            return Outcome.FENCED
        self._drop(write.seq)
        if undo is not None:
            undo.append(lambda: self._put(before))
        return None

    def update(self, write: UpdateDelivery, undo: Undo = None) -> Outcome | None:
        """Write back what may change in a delivery."""
        record = write.record
        before = self._deliveries.get(record.seq)
        if before is None or before.owner != write.owner:
            return Outcome.FENCED
        self._put(replace(record))
        if undo is not None:
            undo.append(lambda: self._put(before))
        self._hint()
        return None

    def free(self, app: str, subscriber: str, is_dead: Callable[[str], bool]) -> None:
        """Make deliveries of dead owners nobody's."""
        for seq in list(self._queues[app, subscriber].owned):
            delivery = self._deliveries[seq]
            if is_dead(delivery.owner):
                self._put(replace(delivery, owner=""))

    def take(
        self, app: str, subscriber: str, owner: str, *, limit: int, now_us: int, ordered: bool
    ) -> list[QueuedDelivery]:
        """Give deliveries that nobody owns and that are due to `owner`."""
        queue = self._queues[app, subscriber]
        if ordered:
            head = self._head(queue)
            due = [head.seq] if head is not None and head.due_us <= now_us else []
        else:
            due = [seq for _, seq in queue.free[: min(limit, bisect_right(queue.free, (now_us, inf)))]]
        taken = [self._deliveries[seq] for seq in due[:limit]]
        taken = [replace(each, owner=owner, deliveries=each.deliveries + 1) for each in taken]
        for delivery in taken:
            self._put(delivery)
        return [replace(each) for each in taken]

    def next_due_us(self, app: str, subscribers: Sequence[str], *, ordered: bool) -> int | None:
        """Return when the next delivery that nobody owns is due."""
        queues = [self._queues[app, subscriber] for subscriber in subscribers]
        if ordered:
            return min((head.due_us for queue in queues if (head := self._head(queue)) is not None), default=None)
        return min((queue.free[0][0] for queue in queues if queue.free), default=None)

    def depths(self, app: str) -> dict[str, tuple[int, int, int]]:
        """Return (ready, owned, dead) by subscriber."""
        return {
            subscriber: (len(queue.free), len(queue.owned), len(queue.dead))
            for (of_app, subscriber), queue in self._queues.items()
            if of_app == app and (queue.line or queue.dead)
        }

    def dead(
        self, app: str, subscriber: str, *, ids: Sequence[str] | None, limit: int, after: int
    ) -> list[QueuedDelivery]:
        """Return dead letters beyond the seq `after`, oldest first."""
        found = [self._deliveries[seq] for seq in self._queues[app, subscriber].dead if seq > after]
        return [replace(each) for each in found if ids is None or each.event_id in ids][:limit]

    def _head(self, queue: _Queue) -> QueuedDelivery | None:
        """Return the first in line, if nobody owns it."""
        return self._deliveries[queue.line[0]] if queue.line and queue.line[0] not in queue.owned else None

    def _put(self, delivery: QueuedDelivery) -> None:
        self._drop(delivery.seq)
        self._deliveries[delivery.seq] = delivery
        self._queues[delivery.app, delivery.subscriber].add(delivery)

    def _drop(self, seq: int) -> None:
        delivery = self._deliveries.pop(seq, None)
        if delivery is not None:
            self._queues[delivery.app, delivery.subscriber].remove(delivery)
