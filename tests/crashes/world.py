"""The world: processes that die one after the other on one database, and what stays when they are gone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from daemon.clock import ManualClock
from daemon.log import captured_log
from daemon.store.model import OutgoingEvent, RunRecord, RunStatus, StepRecord, StepState
from daemon.store.port import RunFilter
from daemon.store.writes import InsertRun, Outcome, UpdateRun
from tests.contract.engine.processes import APP
from tests.crashes.database import Commit, Database, runs_in
from tests.crashes.ledger import FORWARD, Ledger, Place
from tests.crashes.life import Life
from tests.crashes.plans import Order
from tests.crashes.scenario import Scenario, Violation

LOST, LANDED, LATE, THAWED = "lost", "landed", "late", "thawed"
_SETTLED = frozenset({StepState.COMPLETED, StepState.SKIPPED, StepState.FAILED})


@dataclass(frozen=True, slots=True)
class Crash:
    """The death of a process.

    Attributes:
        at: So many steps of its loop are done, and no more.
        fate: What becomes of the commits that it had submitted: they are lost, or they have landed already, or they
            land late, when another process has taken over. A number: so many of them have landed. Or it is not dead
            at all but stopped, for so long that others took over, and goes on when everything is done.
    """

    at: int
    fate: str | int = LANDED


@dataclass(slots=True)
class Remains:
    """What was durable when a process died: what must not be done again.

    Attributes:
        on_its_way: How many commits had been submitted and had not landed.
    """

    on_its_way: int
    settled: set[Place]
    undone: set[Place]


@dataclass(slots=True)
class History:
    """What was seen of a world, from its beginning to its end.

    Attributes:
        ends: How often a run ended, by its id and attempt.
        last: How many effects there were when it last did.
        turned: How many effects there were when the intent to roll back was durable.
        deaths: What was durable at each of them.
    """

    ledger: Ledger
    rows: list[RunRecord] = field(default_factory=list)
    steps: dict[str, list[StepRecord]] = field(default_factory=dict)
    outbox: list[OutgoingEvent] = field(default_factory=list)
    ends: dict[tuple[str, int], int] = field(default_factory=dict)
    last: dict[tuple[str, int], int] = field(default_factory=dict)
    turned: dict[tuple[str, int], int] = field(default_factory=dict)
    deaths: list[Remains] = field(default_factory=list)
    boots: list[int] = field(default_factory=list)
    lives: list[int] = field(default_factory=list)


class World:
    """A scenario on a database.

    Args:
        random: Draws how long everything takes; without it, everything takes one step.
    """

    def __init__(self, scenario: Scenario, database: Database, random: Random | None = None) -> None:
        self.history = History(Ledger(random))
        self._scenario = scenario
        self._database = database
        self._clock = ManualClock()
        self._roots: dict[str, str] = {}
        self._asked = set(scenario.runs)
        self._inputs = list(scenario.inputs)
        self._late: Callable[[list[RunRecord]], object] = len
        self._zombies: list[tuple[Life, Remains]] = []
        self._found: list[str] = []

    def run(self, crashes: Sequence[Crash]) -> int:
        """Have processes die as they are told to, and the last one live to the end; return how many died."""
        died = 0
        for crash in crashes:
            if not self._live(crash):
                break
            died += 1
        else:
            self._live(None)
        for zombie, remains in self._zombies:
            self._thaw(zombie, remains)
        if self._found:
            raise Violation("; ".join(self._found))
        self._look()
        return died

    # --- one process ---
    def _live(self, crash: Crash | None) -> bool:
        """Have a process live, and tell whether it died before everything was done."""
        life = Life(self._scenario, self._database, self._clock, self._landed, self.history.ledger)
        life.wire.claimed, self._late = self._late, len
        life.begin(self._asked, self._inputs)
        try:
            died = not life.go_on(crash.at if crash is not None else None)
            if died and crash is not None:
                self._bury(life, crash.fate)
        finally:
            if crash is None or crash.fate != THAWED or not died:
                life.end()
        if life.troubles:
            raise Violation(f"left to the loop: {life.troubles}")
        self.history.boots.append(life.booted)
        self.history.lives.append(life.loop.steps)
        self._clock = ManualClock(self._clock.now())
        self._database.answer("retire", life.process.owner)
        return died

    def _bury(self, life: Life, fate: str | int) -> None:
        """Decide what becomes of what a dead process has submitted, and note what is durable."""
        on_its_way = len(life.wire.on_its_way)
        if fate == LATE:

            def land(claimed: list[RunRecord]) -> None:
                taken = {record.key for record in claimed}
                for commit, outcome in life.wire.land_all():
                    of = {self._roots.get(key, key) for key in runs_in(commit)}
                    if of & taken and outcome is not Outcome.FENCED:
                        self._found.append(f"a dead process wrote to a run that was taken over: {commit}")

            self._late = land
        elif fate not in (LOST, THAWED):
            life.wire.land_all(None if fate == LANDED else min(int(fate), len(life.wire.on_its_way)))
        rows, steps = self._stored()
        found = [((row.run_id, row.attempt, each.name), each.state) for row in rows for each in steps[row.key]]
        settled = {place for place, state in found if state in _SETTLED}
        remains = Remains(on_its_way, settled, {place for place, state in found if state is StepState.COMPENSATED})
        self.history.deaths.append(remains)
        if fate == THAWED:
            self._zombies.append((life, remains))

    def _thaw(self, zombie: Life, remains: Remains) -> None:
        """Have a process go on that was stopped: it finishes what it was doing, and writes nothing."""
        effects, before = self.history.ledger.effects, self._stored()
        count, engine = len(effects), zombie.process.engine
        was_parked = engine._parking.count > 0 and not engine.running
        try:
            with captured_log() as log:
                zombie.thaw(self._clock.now())
        finally:
            zombie.end()
        self._found += [f"a process that was stopped: {line}" for line in log if line["level"] == "error"]
        if effects[count:] and was_parked:
            self._found.append(f"a process that was stopped did what it was not doing: {effects[count:]}")
        done = effects[count:]
        del effects[count:]
        self._found += zombie.troubles
        if self._stored() != before:
            self._found.append("a process that was stopped wrote to a run that was taken over")
        for each in done:
            gone = remains.settled if each.kind in FORWARD else remains.undone
            if each.place in gone:
                self._found.append(f"a process that was stopped repeated {each}")
            after = Order(self._scenario.plan).later[each.name] - self._scenario.repeatable
            if each.kind in FORWARD and after & {other.name for other in done}:
                self._found.append(f"a process that was stopped went on: {done}")

    def _landed(self, commit: Commit, outcome: Outcome) -> None:
        """Note what has become durable."""
        if outcome is not Outcome.APPLIED:
            return
        count = len(self.history.ledger.effects)
        for write in commit:
            if isinstance(write, InsertRun):
                self._roots[write.record.key] = write.record.root_key or write.record.key
            elif isinstance(write, UpdateRun):
                of = (write.record.run_id, write.record.attempt)
                if write.record.status.ended:
                    self.history.ends[of] = self.history.ends.get(of, 0) + 1
                    self.history.last[of] = count
                elif write.record.status is RunStatus.COMPENSATING:
                    self.history.turned.setdefault(of, count)

    # --- what is there in the end ---
    def _stored(self) -> tuple[list[RunRecord], dict[str, list[StepRecord]]]:
        rows = self._database.answer("runs", APP, RunFilter(), after=None, limit=200).records
        return rows, self._database.answer("steps", [row.key for row in rows])

    def _look(self) -> None:
        self.history.rows, self.history.steps = self._stored()
        self.history.outbox = self._database.answer("outgoing", APP, limit=100)
