"""The outbox in this process's memory."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

from daemon.store.model import OutgoingEvent
from daemon.store.writes import DropOutgoing, StageEvent


class MemoryOutbox:
    """Staged events by their ids, in the order of their positions."""

    def __init__(self) -> None:
        self._events: dict[str, OutgoingEvent] = {}
        self._last = 0

    def stage(self, write: StageEvent) -> None:
        """Keep an event, unless its id is there."""
        if write.event.id not in self._events:
            self._last += 1
            self._events[write.event.id] = replace(write.event, position=self._last)

    def drop(self, write: DropOutgoing) -> None:
        """Forget events."""
        for id_ in write.ids:
            self._events.pop(id_, None)

    def claim(self, app: str, owner: str, *, limit: int, is_dead: Callable[[str], bool]) -> int:
        """Give events of nobody and of the dead to an owner, those of one after those of another."""
        free = [each for each in self._events.values() if each.app == app and is_dead(each.owner)]
        chosen = sorted(free, key=lambda each: (each.owner, each.position))[:limit]
        for each in chosen:
            each.owner = owner
        return len(chosen)

    def page(self, app: str, *, limit: int, after: int, owner: str | None) -> list[OutgoingEvent]:
        """Return the first events behind a position; of an owner those that no other one's come before."""
        return [replace(each) for each in islice(self._wanted(app, after, owner), limit)]

    def _wanted(self, app: str, after: int, owner: str | None) -> Iterator[OutgoingEvent]:
        mine = [each for each in self._events.values() if each.app == app and owner in (None, each.owner)]
        if owner is None or len(mine) == len(self._events):
            return (each for each in mine if each.position > after)
        first: dict[str, int] = {}
        for each in self._events.values():
            if each.app == app and each.owner != owner:
                first[each.origin] = min(each.seq, first.get(each.origin, each.seq))
        return (each for each in mine if each.position > after and each.seq <= first.get(each.origin, each.seq))
