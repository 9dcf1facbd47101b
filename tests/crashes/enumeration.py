"""All histories of a scenario in which one process dies, many in which two do, and others of chance."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from tests.crashes.database import Database, MemoryDatabase
from tests.crashes.oracle import check
from tests.crashes.scenario import Scenario, Violation
from tests.crashes.world import LANDED, LATE, LOST, THAWED, Crash, History, World

FATES = (LANDED, LOST, LATE)


@dataclass
class Count:
    """What was enumerated.

    Attributes:
        singles, pairs, drawn: Histories with one death, with two, and of chance.
        thaws: Those in which a process was stopped, and went on too late.
        deaths: Of processes, in all of them.
    """

    singles: int = 0
    pairs: int = 0
    drawn: int = 0
    thaws: int = 0
    deaths: int = 0
    violations: list[str] = field(default_factory=list)

    @property
    def points(self) -> int:
        """How many histories, no two of which are the same but, perhaps, for some of chance."""
        return self.singles + self.pairs + self.thaws + self.drawn

    def __str__(self) -> str:
        kinds = f"{self.singles} of one process, {self.pairs} of two, {self.thaws} stopped, {self.drawn} of chance"
        return f"{self.points} crash points ({kinds}; {self.deaths} deaths), {len(self.violations)} violations"


class Enumeration:
    """The histories of one scenario.

    Args:
        database: Makes an empty one.
    """

    def __init__(self, scenario: Scenario, count: Count, database: Callable[[], Database] = MemoryDatabase) -> None:
        self._scenario = scenario
        self._count = count
        self._database = database
        self.reference = self._happen([])
        check(scenario, self.reference, None)

    def singles(self, *, every: int = 1) -> None:
        """Have a process die at every step, with every fate of what it had submitted."""
        for at in self._steps(every):
            for fate in FATES:
                history = self._try([Crash(at, fate)])
                self._count.singles += 1
                if history is None or not history.deaths[0].on_its_way:
                    break  # what had not been submitted has no fate

    def thaws(self, *, every: int) -> None:
        """Have a process be stopped at a step, until another one has done everything."""
        if not self._scenario.plans:  # else what it goes on with may be to ask for one attempt more
            for at in self._steps(every):
                self._try([Crash(at, THAWED)])
                self._count.thaws += 1

    def pairs(self, *, every: int, then: int) -> None:
        """Have a second process die, at some steps of its own, after the first one died at some."""
        for number, at in enumerate(self._steps(every)):
            for again in itertools.count(1 + number % then, then):
                history = self._try([Crash(at, FATES[number % 3]), Crash(again, FATES[again % 3])])
                if history is None or len(history.deaths) < 2:
                    break
                self._count.pairs += 1

    def drawn(self, seed: int) -> None:
        """Have some processes die somewhere, while everything takes as long as chance has it."""
        random = Random(f"{self._scenario.name} {seed}")  # noqa: S311 - the same again from the same seed
        longest = 2 * self.reference.lives[0]
        fates: list[str | int] = [*FATES, 1, 2]
        crashes = [Crash(random.randint(1, longest), random.choice(fates)) for _ in range(random.randint(1, 4))]
        self._try(crashes, random)
        self._count.drawn += 1

    def _steps(self, every: int) -> range:
        """Return the steps of the first process at which it may die: those that come after its beginning."""
        return range(self.reference.boots[0], self.reference.lives[0], every)

    def _try(self, crashes: Sequence[Crash], random: Random | None = None) -> History | None:
        """Have a history happen and check it; None if it must never happen, which is noted."""
        try:
            history = self._happen(crashes, random)
            check(self._scenario, history, self.reference)
        except Violation as why:
            self._count.violations.append(f"{self._scenario.name}, {list(crashes)}: {why}")
            return None
        return history

    def _happen(self, crashes: Sequence[Crash], random: Random | None = None) -> History:
        database = self._database()
        try:
            world = World(self._scenario, database, random)
            world.run(crashes)
            self._count.deaths += len(world.history.deaths)
            return world.history
        finally:
            database.close()
