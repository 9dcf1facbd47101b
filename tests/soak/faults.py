"""What goes wrong: a shuffled deck of faults, one at a time, each until everything is up again."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from daemon.engine.recovery import LEASE_S
from tests.soak.database import Database
from tests.soak.fleet import Fleet

# How often each is in the deck.
DECK = {"kill": 4, "term": 2, "stop": 1, "database": 3}


@dataclass(frozen=True, slots=True)
class Fault:
    """One that was injected.

    Attributes:
        kind: `kill` (SIGKILL of a daemon, and a new start), `term` (SIGTERM, the same), `stop` (SIGSTOP for longer than
            the lease, then SIGCONT), `database` (SIGKILL of the server's processes, and a new start).
        at_s: When it struck, on the machine's clock.
        again_s: When what it struck was started again, or went on.
        up_s: When it was up again.
        pids: The daemons that it struck; none for `database`.
    """

    kind: str
    at_s: float
    again_s: float
    up_s: float
    pids: frozenset[int]


class Faults:
    """Strikes.

    Args:
        chance: Decides what, whom and for how long.
        kinds: Those of `DECK` that may happen.
    """

    def __init__(self, fleet: Fleet, database: Database, chance: random.Random, kinds: Sequence[str]) -> None:
        self.injected: list[Fault] = []
        self._fleet = fleet
        self._database = database
        self._chance = chance
        self._kinds = kinds
        self._deck: list[str] = []

    def strike(self) -> None:
        """Have the next fault happen, and return when everything is up again."""
        if not self._deck:
            self._deck = [kind for kind in self._kinds for _ in range(DECK[kind])]
            self._chance.shuffle(self._deck)
        kind = self._deck.pop()
        number = self._chance.choice(self._fleet.numbers)
        pid, at_s = self._fleet.pid(number), time.time()
        does: dict[str, Callable[[int], float]] = {
            "kill": self._kill,
            "term": self._terminate,
            "stop": self._suspend,
            "database": self._crash_database,
        }
        again_s = does[kind](number)
        up_s = time.time()
        for each in self._fleet.numbers:
            self._fleet.await_ready(each)
        pids = frozenset[int]() if kind == "database" else frozenset({pid})
        self.injected.append(Fault(kind, at_s, again_s, up_s, pids))

    def _kill(self, number: int) -> float:
        self._fleet.kill(number)
        time.sleep(self._chance.uniform(0, 0.5))
        return self._start(number)

    def _terminate(self, number: int) -> float:
        self._fleet.terminate(number)
        return self._start(number)

    def _start(self, number: int) -> float:
        again_s = time.time()
        self._fleet.start(number)
        return again_s

    def _suspend(self, number: int) -> float:
        self._fleet.suspend(number, LEASE_S + self._chance.uniform(1, 3))
        return time.time()

    def _crash_database(self, _: int) -> float:
        self._database.kill()
        time.sleep(self._chance.uniform(0, 2))
        again_s = time.time()
        self._database.start()
        return again_s
