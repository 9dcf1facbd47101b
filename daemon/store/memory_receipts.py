"""What this process's memory holds of events that are handled, and of a broker's deliveries."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice

from daemon.store.memory_runs import Undo
from daemon.store.model import Receipt
from daemon.store.writes import ForgetReceipt, Outcome, PutReceipt, RecordHandled

Key = tuple[str, str, str, str, str]  # app, subscriber, source, event name, event id


class MemoryReceipts:
    """Handled events and receipts, by their keys. What it hands out are copies."""

    def __init__(self) -> None:
        self._handled: dict[Key, RecordHandled] = {}
        self._receipts: dict[Key, Receipt] = {}

    def record_handled(self, write: RecordHandled, undo: Undo = None) -> Outcome | None:
        """Note that a subscriber is done with an event."""
        key = _key(write)
        if key in self._handled:
            return Outcome.CONFLICT
        self._handled[key] = replace(write)
        if undo is not None:
            undo.append(lambda: self._handled.pop(key))
        return None

    def put(self, write: PutReceipt) -> None:
        """Keep a receipt."""
        self._receipts[_key(write.record)] = replace(write.record)

    def forget(self, write: ForgetReceipt) -> None:
        """Forget one."""
        self._receipts.pop(_key(write), None)

    def body_hash(self, key: Key) -> bytes | None:
        """Return the hash of a handled event's body; None: it is not handled."""
        handled = self._handled.get(key)
        return None if handled is None else handled.body_hash

    def receipt(self, key: Key) -> Receipt | None:
        """Return what is known of a delivery."""
        found = self._receipts.get(key)
        return found and replace(found)

    def claim(
        self, app: str, subscriber: str, mark: str, owner: str, *, is_dead: Callable[[str], bool]
    ) -> Receipt | None:
        """Give the oldest unfinished receipt with a mark to `owner`."""
        unfinished = [
            each
            for key, each in self._receipts.items()
            if (each.app, each.subscriber, each.mark) == (app, subscriber, mark)
            and mark
            and (not each.owner or (is_dead(each.owner) and key not in self._handled))
        ]
        if not unfinished:
            return None
        oldest = min(unfinished, key=lambda each: each.event_id)
        oldest.owner = owner
        return replace(oldest)

    def prune(self, app: str, *, before_us: int, limit: int) -> int:
        """Forget what is old of both."""
        old = [key for key, each in self._handled.items() if key[0] == app and each.handled_us < before_us][:limit]
        for key in old:
            del self._handled[key]
        gone = (key for key, each in self._receipts.items() if key[0] == app and each.first_seen_us < before_us)
        older = list(islice(gone, limit - len(old)))
        for key in older:
            del self._receipts[key]
        return len(old) + len(older)


def _key(of: RecordHandled | Receipt | ForgetReceipt) -> Key:
    return of.app, of.subscriber, of.source, of.event_name, of.event_id
