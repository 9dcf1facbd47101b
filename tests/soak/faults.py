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
        up_s: When what it struck was up again.
        pids: The daemons that it struck; none for `database`.
    """

    kind: str
    at_s: float
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
        does: dict[str, Callable[[int], None]] = {
            "kill": self._kill,
            "term": self._terminate,
            "stop": self._suspend,
            "database": self._crash_database,
        }
        does[kind](number)
        up_s = time.time()
        for each in self._fleet.numbers:
            self._fleet.await_ready(each)
        pids = frozenset[int]() if kind == "database" else frozenset({pid})
        self.injected.append(Fault(kind, at_s, up_s, pids))

    def _kill(self, number: int) -> None:
        self._fleet.kill(number)
        time.sleep(self._chance.uniform(0, 0.5))
        self._fleet.start(number)

    def _terminate(self, number: int) -> None:
        self._fleet.terminate(number)
        self._fleet.start(number)

    def _suspend(self, number: int) -> None:
        self._fleet.suspend(number, LEASE_S + self._chance.uniform(1, 3))

    def _crash_database(self, _: int) -> None:
        self._database.kill()
        time.sleep(self._chance.uniform(0, 2))
        self._database.start()
