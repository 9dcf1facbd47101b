"""Kills a process at every commit of a run, has another take over, and checks that all that happened is in order."""

import itertools
from collections import Counter
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
Plan = str | tuple["Plan", ...] | frozenset["Plan"]


@dataclass(frozen=True)
class Survival:
    """A run that another process took to its end.

    Attributes:
        before: What steps did before the crash.
        after: And after it.
        rows: Of all its children.
    """

    run: WorkflowRun[Any]
    before: list[str]
    after: list[str]
    rows: list[RunRecord]

    @property
    def effects(self) -> list[str]:
        """All that steps did."""
        return self.before + self.after


async def survivals(store: Store, clock: ManualClock, make: Make, *, committed: bool) -> AsyncIterator[Survival]:
    """Iterate over runs of a workflow whose process died at their first commit, the second, and so on.

    Args:
        make: Composes the workflow, whose steps keep a journal.
        committed: Whether the commit was applied at which it died.
    """
    heir = await living(store, clock, "heir")
    for at in itertools.count(1):
        journal, run_id = Journal(), f"run-{at}"
        flow = make(journal)
        mortal = Mortal(store, clock, at=at, committed=committed)
        died = await mortal.live(flow(mortal.process.container).run(run_id=run_id, raise_on_error=False))
        before = list(journal)
        if died:
            await _take_over(heir, flow, run_id)
        run = await heir.engine.get(run_id)
        rows = (await store.children([run.record.key]))[run.record.key]
        yield Survival(run, before, journal[len(before) :], rows)
        if not died:
            assert at == len(mortal.store.commits) + 1
            return


async def _take_over(heir: Process, flow: SourceWorkflow[Any], run_id: str) -> None:
    if await heir.store.run(APP, run_id) is None:  # not even its start was durable
        await flow(heir.container).run(run_id=run_id, raise_on_error=False)
        return
    await heir.take_over(flow)
    await until(lambda: not heir.engine.running, what="the heir is done")


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
    forward = [name for name in effects if not name.startswith("undo ")]
    back = [name.removeprefix("undo ") for name in effects if name.startswith("undo ")]
    names, later = _order(plan)
    assert (run.status, run.attempt) == (status, 1)
    assert all(row.status.ended and row.ended_us is not None for row in survival.rows)
    assert all(row.status is not RunStatus.COMPLETED for row in survival.rows) or status is RunStatus.COMPLETED
    assert set(forward) == names
    assert set(undone) <= set(back) <= {*undone, *doubted}
    _check_order(forward, later)
    _check_order(back, {name: {other for other in names if name in later[other]} for name in names})
    for name, times in Counter(effects).items():
        if times > 1:
            undo, of = name.startswith("undo "), name.removeprefix("undo ")
            after = {f"undo {other}" for other in names if of in later[other]} if undo else later[of]
            assert times == 2
            assert name in survival.before, f"{name} was repeated by the heir alone"
            assert not after & set(survival.before), f"{name} was durable and was repeated"
    if any(name.startswith("undo ") for name in survival.before):
        assert all(name.startswith("undo ") for name in survival.after), "a rollback never turns forward again"


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
