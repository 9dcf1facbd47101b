"""Kills a process at every commit of a run, has another take over, and checks that all that happened is in order."""

import itertools
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from daemon import RunStatus
from daemon.clock import ManualClock
from daemon.store.model import RunRecord
from daemon.store.port import Store
from daemon.workflow.run import WorkflowRun
from daemon.workflow.workflow import SourceWorkflow
from tests.contract.engine.mortal import Mortal, living
from tests.contract.engine.processes import APP, Journal, Process, until

Make = Callable[[Journal], SourceWorkflow[Any]]
_UNDO = "undo "
Plan = str | tuple["Plan", ...] | frozenset["Plan"]


@dataclass(frozen=True)
class Survival:
    """A run that another process took to its end.

    Attributes:
        lives: What steps did in each of the processes that had it.
        rows: Of all its children.
    """

    run: WorkflowRun[Any]
    lives: list[list[str]]
    rows: list[RunRecord]

    @property
    def effects(self) -> list[str]:
        """All that steps did."""
        return [name for life in self.lives for name in life]


async def survivals(
    store: Store, clock: ManualClock, make: Make, *, committed: bool, twice: bool = False
) -> AsyncIterator[Survival]:
    """Iterate over runs of a workflow whose process died at their first commit, the second, and so on.

    Args:
        make: Composes the workflow, whose steps keep a journal.
        committed: Whether the commit was applied at which it died.
        twice: The process that takes the run over dies, too, at its first commit, its second, and so on.
    """
    heir, deaths = await living(store, clock, "heir"), 1
    for at in itertools.count(1):
        for again in itertools.count(1):
            mortals = [Mortal(store, clock, at=at, committed=committed)]
            if twice:
                mortals.append(Mortal(store, clock, at=again, committed=committed, owner="second"))
            survival, deaths = await _survive(mortals, heir, make, f"run-{at}-{again}")
            yield survival
            if deaths < 2:
                break
        if deaths == 0:
            return


async def _survive(mortals: list[Mortal], heir: Process, make: Make, run_id: str) -> tuple[Survival, int]:
    """Have a run survive, and tell how many processes died that had it."""
    journal, lives, deaths = Journal(), list[list[str]](), 0
    flow = make(journal)
    for mortal in mortals:
        died = await mortal.live(_go_on(mortal.process, flow, run_id))
        lives.append(journal.since(lives))
        deaths += died
        if not died:
            break
    if deaths == len(mortals):
        await _go_on(heir, flow, run_id)
        lives.append(journal.since(lives))
    run = await heir.engine.get(run_id)
    rows = (await heir.store.children([run.record.key]))[run.record.key]
    return Survival(run, lives, rows), deaths


async def _go_on(process: Process, flow: SourceWorkflow[Any], run_id: str) -> None:
    if await process.store.run(APP, run_id) is None:  # not even its start was durable
        await flow(process.container).run(run_id=run_id, raise_on_error=False)
        return
    await process.take_over(flow)
    await until(lambda: not process.engine.running, what="it is done")


def check(
    survival: Survival, plan: Plan, *, status: RunStatus, undone: Collection[str] = (), doubted: Collection[str] = ()
) -> None:
    """Fail unless everything happened, in order, once but for what was in doubt, and all that ended has its end.

    Args:
        plan: What the steps do: a tuple one after the other, a frozenset at the same time.
        status: How the run ends.
        undone: What is undone of it, in whatever order; each before all that came earlier in the plan.
        doubted: What may be undone besides, since nobody knew whether it had been done.
    """
    run, effects = survival.run, survival.effects
    names, later = _order(plan)
    earlier = {name: {other for other in names if name in later[other]} for name in names}
    forward = [name for name in effects if not name.startswith(_UNDO)]
    back = [name.removeprefix(_UNDO) for name in effects if name.startswith(_UNDO)]
    assert (run.status, run.attempt) == (status, 1)
    assert all(row.status.ended and row.ended_us is not None for row in survival.rows)
    assert all(row.status is not RunStatus.COMPLETED for row in survival.rows) or status is RunStatus.COMPLETED
    assert set(forward) == names
    assert set(undone) <= set(back) <= {*undone, *doubted}
    _check_order(forward, later)
    _check_order(back, earlier)
    before: set[str] = set()
    for life in survival.lives:
        assert len(set(life)) == len(life), "a process does nothing twice"
        for name in before.intersection(life):
            of = name.removeprefix(_UNDO)
            after = later[of] if of == name else {f"{_UNDO}{other}" for other in earlier[of]}
            assert not after & before, f"{name} was durable and was repeated"
        is_rollback = any(name.startswith(_UNDO) for name in before)
        assert not is_rollback or all(name.startswith(_UNDO) for name in life), "it turned forward again"
        before |= set(life)


def names_in(plan: Plan) -> set[str]:
    """Return what the steps of a plan are called."""
    return _order(plan)[0]


def _check_order(effects: Sequence[str], later: dict[str, set[str]]) -> None:
    """Fail unless whatever comes later began later, and was last repeated later, too."""
    first = {name: effects.index(name) for name in effects}
    last = {name: at for at, name in enumerate(effects)}
    for name, others in later.items():
        for other in others & first.keys():
            assert name not in first or (first[name] < first[other] and last[name] < last[other])


def _order(plan: Plan) -> tuple[set[str], dict[str, set[str]]]:
    """Return the names in a plan, and for each of them those that come later."""
    if isinstance(plan, str):
        return {plan}, {plan: set()}
    names: set[str] = set()
    later: dict[str, set[str]] = {}
    for part in plan:
        some, after = _order(part)
        if isinstance(plan, tuple):
            for name in names:
                later[name] |= some
        names |= some
        later |= after
    return names, later
