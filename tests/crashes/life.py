"""A process, moved step by step, to its death or until everything is done."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any

from daemon.clock import ManualClock
from daemon.errors import StoreUnavailableError
from tests.contract.engine.processes import APP, Process
from tests.crashes.database import Commit, Database, Wire
from tests.crashes.ledger import Ledger
from tests.crashes.loop import StepLoop
from tests.crashes.scenario import Input, Scenario, Violation

_ENDLESS = 20_000
_PAGE = 100


class Life:
    """A process on the database.

    It begins as a daemon does: takes out its lease, takes over what the dead have left, and is asked again for what
    nobody was told the end of. Whenever nothing is ready it looks for what lost its owner, or was asked of its runs;
    then time moves on to whatever is due next.

    Attributes:
        booted: How many steps that beginning took.
        troubles: What was left to its loop while it lived.
    """

    def __init__(
        self,
        scenario: Scenario,
        database: Database,
        clock: ManualClock,
        landed: Callable[[Commit, Any], object],
        ledger: Ledger,
    ) -> None:
        ledger.process += 1
        self.loop = StepLoop()
        self.wire = Wire(database, self.loop, landed, ledger.random)
        store: Any = self.wire
        self.process = Process(store, clock, f"process-{ledger.process}")
        self.process.registry.register_value(Ledger, ledger)
        self.process.engine.register([scenario.flow])
        self.booted = 0
        self._scenario = scenario
        self._database = database
        self._clock = clock
        self._ledger = ledger
        self._asked: set[str] = set()
        self._inputs: list[Input] = []
        self._going: set[asyncio.Task[Any]] = set()
        self.troubles: list[str] = []
        self._is_fresh = False  # whether somebody has looked since something last happened

    def begin(self, asked: set[str], inputs: list[Input]) -> None:
        """Have the process begin; what it was told the end of is taken out of what is asked for, and of the inputs."""
        self._asked, self._inputs = asked, inputs
        self._begun = list[Input]()
        self._start(self._boot())

    def go_on(self, limit: int | None) -> bool:
        """Go on until so many steps are done; tell whether everything was done before."""
        loop, effects = self.loop, self._ledger.effects
        known = -1
        while limit is None or loop.steps < limit:
            if self._inputs and known != len(effects) and self.booted:
                known = len(effects)
                self._take_inputs()
            if not loop.is_idle:
                loop.step()
                if loop.steps > _ENDLESS:
                    raise Violation(f"{self._scenario.name}: it never ends")
            elif not self._find_work():
                return True
        return False

    def thaw(self, now: datetime) -> None:
        """Go on after having been stopped until now, as far as it goes."""
        steps = self.loop.steps
        self.loop.call_soon(self._clock.advance, now - self._clock.now())
        self._start(self._look_around())
        while not self.loop.is_idle and self.loop.steps < steps + _ENDLESS:
            self.loop.step()

    def end(self) -> None:
        """Have nothing of it reach the world any more."""
        self.troubles = list(self.loop.troubles)
        self.wire.cut()
        self.loop.end()

    def _find_work(self) -> bool:
        """Have something go on that was idle; False: there is nothing left to be done."""
        if not self._is_fresh:
            self._is_fresh = True
            self._start(self._look_around())
            return True
        self._is_fresh = False
        for each in self._inputs:
            if not each.after and each not in self._begun:
                self._take(each)
                return True
        due_s = self._clock.next_due_s()
        if self._is_done():
            return False
        if due_s is None:
            what = [(row.run_id, row.status.value, row.waiting_for) for row in self._runs()]
            left = f"{len(self._inputs)} inputs are left, and {self.loop.troubles}"
            raise Violation(f"nothing goes on any more: {what}; {left}")
        self.loop.call_soon(self._clock.advance, timedelta(seconds=due_s))
        return True

    def _is_done(self) -> bool:
        rows = self._runs()
        is_over = len(rows) == len(self._scenario.runs) and all(row.status.ended for row in rows)
        return is_over and not self._going and not self._inputs and not self.process.engine.running

    def _runs(self) -> list[Any]:
        found = [self._database.answer("run", APP, run_id) for run_id in self._scenario.runs]
        return [row for row in found if row is not None]

    # --- what it does ---
    async def _boot(self) -> None:
        await self.process.announce()
        await self._look_around()
        for run_id in self._scenario.runs:
            if run_id in self._asked:
                self._start(self._ask(run_id))
        self.booted = self.loop.steps

    async def _look_around(self) -> None:
        """Take over what nobody drives, and take up what was asked of what is here; as is done every two seconds."""
        engine, store = self.process.engine, self.process.store
        names = list(engine.workflows)
        await engine.resume(await store.claim_runs(APP, self.process.owner, names, limit=_PAGE))
        await engine.heed()

    async def _ask(self, run_id: str) -> None:
        await self._scenario.ask(self.process, run_id)
        if self._database.answer("run", APP, run_id) is None:
            raise Violation(f"{run_id} was answered for, and is not in the store")
        self._asked.discard(run_id)

    def _take_inputs(self) -> None:
        for each in self._inputs:
            if each.after in self._ledger.names and each not in self._begun:
                self._take(each)

    def _take(self, given: Input) -> None:
        async def act() -> None:
            await given.act(self.process)
            if given in self._inputs:  # else another process did it while this one was stopped
                self._inputs.remove(given)

        self._begun.append(given)
        self._start(act())

    def _start(self, work: Coroutine[Any, Any, Any]) -> None:
        task = self.loop.create_task(work)
        self._going.add(task)
        task.add_done_callback(self._going.discard)
        task.add_done_callback(self._report)

    def _report(self, task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, StoreUnavailableError):  # the run went on elsewhere
            self.loop.troubles.append(f"{type(error).__name__}: {error}")
