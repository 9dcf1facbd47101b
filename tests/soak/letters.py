"""What is given up in a soak, and put back: an event that three daemons have died with, as there are many kills."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from tests.soak.faults import Fault
from tests.soak.fleet import Fleet

_DEADLY = frozenset({"kill", "stop"})  # who is stopped for longer than its lease counts as dead
_STARTS = 3
Letter = dict[str, Any]


class Letters:
    """The dead letters, when no daemon is killed any more.

    Attributes:
        replayed: How many were put back, as an operator would.
        violations: Those that must not be.
    """

    def __init__(self, fleet: Fleet, faults: Sequence[Fault]) -> None:
        self.replayed = 0
        self.violations: list[str] = []
        self._fleet = fleet
        self._faults = faults
        self._known: set[tuple[str, str]] = set()

    def replay(self) -> None:
        """Put back what is new among them and was given up rightly."""
        for letter in self._fleet.read("/api/dead-letters")["items"]:
            subscriber, event_id = key = letter["subscriber"], letter["event_id"]
            if key in self._known:
                continue
            self._known.add(key)
            if problem := wrong_with(letter, self._faults):
                self.violations.append(f"{event_id} of {subscriber} is a dead letter: {problem}")
                continue
            with self._fleet.daemon(0).api() as api:
                answer = api.post("/api/dead-letters/replay", json={"subscriber": subscriber, "ids": [event_id]})
            answer.raise_for_status()
            self.replayed += answer.json()["replayed"]


def wrong_with(letter: Letter, faults: Sequence[Fault]) -> str:
    """Return why this must be no dead letter; nothing if three daemons have died since it came."""
    if letter["reason"] != "crashed":
        return f"{letter['reason']}: {letter['error']}"
    first_s, last_s = (datetime.fromisoformat(letter[key]).timestamp() for key in ("first_seen_at", "dead_at"))
    deaths = sum(fault.kind in _DEADLY and first_s <= fault.at_s <= last_s for fault in faults)
    return "" if deaths >= _STARTS else f"crashed, and {deaths} daemons died while it was there"
