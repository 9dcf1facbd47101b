"""The queues of a store, and what is known of a broker's deliveries, as the store's protocol describes them."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from daemon.store.model import QueuedDelivery, Receipt
from daemon.store.writes import Enqueue, ForgetReceipt, Outcome, PutReceipt, SettleDelivery, UpdateDelivery


@dataclass
class Queues:
    """Deliveries by the ids of their events, in the order in which they came; receipts by those of theirs.

    A delivery's `seq` is 0 as long as the store has not told it.
    """

    deliveries: dict[str, QueuedDelivery] = field(default_factory=dict)
    receipts: dict[str, Receipt] = field(default_factory=dict)

    # --- writes ---
    def apply(self, write: Enqueue | PutReceipt | ForgetReceipt) -> None:
        match write:
            case Enqueue(deliveries=deliveries):
                self.deliveries |= {each.event_id: each for each in deliveries}
            case PutReceipt(record=receipt):
                self.receipts[receipt.event_id] = receipt
            case ForgetReceipt(event_id=event_id):
                self.receipts.pop(event_id, None)

    def change(self, write: SettleDelivery | UpdateDelivery) -> Outcome | None:
        seq = write.seq if isinstance(write, SettleDelivery) else write.record.seq
        of = next((id_ for id_, each in self.deliveries.items() if (each.seq, each.owner) == (seq, write.owner)), None)
        if of is None:
            return Outcome.FENCED
        if isinstance(write, SettleDelivery):
            del self.deliveries[of]
        else:
            self.deliveries[of] = write.record
        return None

    # --- what is taken over ---
    def take(
        self, subscriber: str, owner: str, limit: int, now_us: int, is_free: Callable[[str], bool], *, ordered: bool
    ) -> list[QueuedDelivery]:
        line = [each for each in self.of(subscriber) if not each.reason]
        chosen = line[:1] if ordered else sorted(line, key=lambda each: each.due_us)
        taken = [each for each in chosen if is_free(each.owner) and each.due_us <= now_us][:limit]
        for delivery in taken:
            delivery.owner = owner
            delivery.deliveries += 1
        return taken

    def claim_receipt(
        self, mark: str, owner: str, is_free: Callable[[str], bool], handled: Collection[str]
    ) -> Receipt | None:
        free = [
            each
            for each in self.receipts.values()
            if each.mark == mark and is_free(each.owner) and not (each.owner and each.event_id in handled)
        ]
        oldest = min(free, key=lambda each: each.event_id, default=None)
        if oldest is not None:
            oldest.owner = owner
        return oldest

    def forget_old(self, before_us: int) -> int:
        """Forget what is known of deliveries that came before; return of how many."""
        kept = {of: each for of, each in self.receipts.items() if each.first_seen_us >= before_us}
        gone, self.receipts = len(self.receipts) - len(kept), kept
        return gone

    # --- what is read ---
    def of(self, subscriber: str) -> list[QueuedDelivery]:
        return [each for each in self.deliveries.values() if each.subscriber == subscriber]

    def learn(self, found: list[QueuedDelivery]) -> list[QueuedDelivery]:
        """Take over the `seq` of what a store told of; return what it should have told."""
        told = []
        for each in found:
            known = self.deliveries[each.event_id]
            known.seq = known.seq or each.seq
            told.append(known)
        return told

    def depths(self) -> Mapping[str, tuple[int, int]]:
        """Return how many are on each queue, and how many of it are dead letters."""
        found: dict[str, tuple[int, int]] = {}
        for each in self.deliveries.values():
            line, dead = found.get(each.subscriber, (0, 0))
            found[each.subscriber] = (line + (not each.reason), dead + bool(each.reason))
        return found


def without_seq(delivery: QueuedDelivery) -> QueuedDelivery:
    return replace(delivery, seq=0)
