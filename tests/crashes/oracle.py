"""The oracle: what must hold of every history, whatever died in it. It knows nothing of the engine."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from daemon.store.model import RunRecord, RunStatus, StepState
from tests.crashes.ledger import BACK, DO, FORWARD, UNDO, Place
from tests.crashes.plans import Order
from tests.crashes.scenario import Scenario, Violation
from tests.crashes.world import History

_GOING_ON = frozenset({StepState.RUNNING, StepState.WAITING, StepState.COMPENSATING})
Of = tuple[str, int]


def check(scenario: Scenario, history: History, reference: History | None) -> None:
    """Raise `Violation` unless everything is as it must be.

    Args:
        reference: The same scenario without a death; None if this is it.
    """
    _check_rows(scenario, history)
    for row in _roots(history):
        _Run(scenario, history, row).check()
    _check_keys(history)
    if reference is None:
        left = len(history.outbox)
        _demand(left == scenario.published, f"{left} events left instead of {scenario.published}")
    else:
        _check_against(scenario, history, reference)


def _demand(holds: object, what: str) -> None:
    if not holds:
        raise Violation(what)


def _roots(history: History) -> list[RunRecord]:
    return [row for row in history.rows if row.root_key is None]


def _check_rows(scenario: Scenario, history: History) -> None:
    """Every run has one end, and so has everything in it; a child ends as the run at the top does."""
    roots = {row.key: row for row in _roots(history)}
    attempts = 1 + max([0, *(attempt - 1 for attempt in scenario.plans)])
    asked = sorted((run_id, attempt) for run_id in scenario.runs for attempt in range(1, attempts + 1))
    _demand(sorted((row.run_id, row.attempt) for row in roots.values()) == asked, "there are other runs than asked for")
    for row in history.rows:
        name = f"{row.run_id} (attempt {row.attempt})"
        _demand(row.status.ended and row.ended_us is not None, f"{name} has no end: {row.status}")
        _demand(not row.waiting_for and row.wake_us is None, f"{name} has ended and waits for {row.waiting_for}")
        if row.root_key is not None:
            root = roots[row.root_key].status
            same = (row.status is RunStatus.COMPLETED) == (root is RunStatus.COMPLETED)
            _demand(same, f"{name} is {row.status} in a run that is {root}")
            _demand(row.status is not RunStatus.FAILED or root is RunStatus.FAILED, f"{name} is {row.status} alone")
        else:
            of = (row.run_id, row.attempt)
            ends = history.ends.get(of, 0)
            _demand(1 <= ends <= 1 + scenario.returns, f"{name} has ended {ends} times")
            late = [each for each in history.ledger.effects[history.last[of] :] if each.of == of]
            _demand(not late, f"after the end of {name}: {late}")
        for step in history.steps[row.key]:
            _demand(step.state not in _GOING_ON, f"{step.name} of {name}, which has ended, is {step.state}")
            _demand(not step.awaits, f"{step.name} of {name} awaits {step.awaits}")


def _check_keys(history: History) -> None:
    """A step has one idempotency key, and no other step has it."""
    places: dict[str, Place] = {}
    keys: dict[Place, str] = {}
    for each in history.ledger.effects:
        same = (
            places.setdefault(each.key, each.place) == each.place and keys.setdefault(each.place, each.key) == each.key
        )
        _demand(same, f"{each.place} and {places[each.key]} have the keys {keys[each.place]} and {each.key}")


class _Run:
    """One attempt of a run at the top, with everything inside it."""

    def __init__(self, scenario: Scenario, history: History, row: RunRecord) -> None:
        self._scenario = scenario
        self._history = history
        self._row = row
        self._of = (row.run_id, row.attempt)
        plan = scenario.plans.get(row.attempt, scenario.plan)
        self._order, self._back_order = Order(plan), Order(scenario.back or plan).reversed()
        self._effects = [each for each in history.ledger.effects if each.of == self._of]
        self._forward = [each for each in self._effects if each.kind in FORWARD]
        self._back = [each for each in self._effects if each.kind in BACK]

    def check(self) -> None:
        """Check all that happened in it."""
        self._check_names()
        self._order.check([each.name for each in self._forward], "")
        self._back_order.check([each.name for each in self._back], "undo ")
        self._check_repetitions()
        self._check_turn()
        self._check_undone()
        self._check_told()

    def _check_names(self) -> None:
        seen, names = {each.name for each in self._forward}, self._order.names
        _demand(seen <= names, f"nobody asked for {seen - names}")
        missing = self._order.required - seen
        _demand(not missing, f"{self._of} is {self._row.status}, and {sorted(missing)} never happened")
        _demand(len(seen & self._scenario.either) <= 1, f"both happened: {seen & self._scenario.either}")
        if self._row.status not in self._scenario.ends:
            raise Violation(f"{self._of} ended {self._row.status}")

    def _check_repetitions(self) -> None:
        """What is done again was in doubt: nobody had begun anything after it, nor was it durable."""
        once: Counter[tuple[int, str, str, int]] = Counter()
        begun: dict[int, set[str]] = {}
        undone: dict[int, set[str]] = {}
        for each in self._effects:
            once[each.process, each.kind, each.name, each.number] += 1
            (begun if each.kind in FORWARD else undone).setdefault(each.process, set()).add(each.name)
            earlier = [
                set[str]().union(*(names for at, names in of.items() if at < each.process)) for of in (begun, undone)
            ]
            if each.kind in FORWARD and each.name in earlier[0]:
                after = self._order.later[each.name] & earlier[0] - self._scenario.repeatable
                _demand(not after, f"{each.name} is done again, and {sorted(after)} had begun after it")
            if each.kind in BACK and each.name in earlier[1]:
                after = self._back_order.later[each.name] & earlier[1]
                _demand(not after, f"{each.name} is undone again, and so were {sorted(after)} after it")
            for at, remains in enumerate(self._history.deaths, 1):
                gone = remains.settled if each.kind in FORWARD else remains.undone
                was_durable = at < each.process and each.place in gone
                _demand(not was_durable, f"{each.kind} {each.name}: its outcome was durable when process {at} died")
        twice = [what for what, count in once.items() if count > 1]
        _demand(not twice, f"one process did twice: {twice}")

    def _check_turn(self) -> None:
        """A rollback never turns forward, and nothing is undone before the intent to is durable."""
        backward = False
        for at, each in enumerate(self._history.ledger.effects):
            if each.of != self._of:
                continue
            turned = self._history.turned.get(self._of)
            if each.kind in BACK:
                backward = True
                _demand(turned is not None and turned <= at, f"{each.name} is undone before the intent to is durable")
            else:
                is_back = backward or (turned is not None and turned <= at)
                _demand(not is_back, f"{each.name} is done, and the run rolls back")

    def _check_undone(self) -> None:
        """A run that completed has nothing undone, one that did not everything, after it was last done."""
        if self._row.status is RunStatus.COMPLETED:
            _demand(not self._back, f"the run has completed, and undone {self._back}")
            return
        undone = {each.name for each in self._back if each.kind == UNDO}
        left = {each.name for each in self._forward if each.kind == DO} - undone - self._scenario.stuck
        _demand(not left, f"{self._of} is {self._row.status}, and {sorted(left)} is not undone")
        _demand(undone <= self._order.names, f"nobody asked for the undoing of {undone}")

    def _check_told(self) -> None:
        """What the store says was done was done, and the other way round."""
        done = {each.place for each in self._forward}
        undone = {each.place for each in self._back if each.kind == UNDO}
        for state, place in self._told():
            if state is StepState.COMPLETED:
                _demand(place in done, f"{place} is completed, and never happened")
                _demand(place not in undone, f"{place} is completed, and was undone")
            if state is StepState.COMPENSATED:
                _demand(place in undone, f"{place} is compensated, and was never undone")

    def _told(self) -> Iterator[tuple[StepState, Place]]:
        acts = {each.step for each in self._history.ledger.effects}
        for row in self._history.rows:
            if (row.root_key or row.key) != self._row.key:
                continue
            for step in self._history.steps[row.key]:
                place = (row.run_id, row.attempt, step.name)
                is_kept = row.attempt > 1 and step.name not in self._order.names  # from the attempt before
                if step.kind == "step" and step.name in acts and not is_kept:
                    yield step.state, place


def _check_against(scenario: Scenario, history: History, reference: History) -> None:
    """What completed has the result and the events that it has without a death; and if need be all else is the same."""
    expected = {(row.run_id, row.attempt): row for row in reference.rows}
    same_ends = True
    for row in history.rows:
        other = expected.get((row.run_id, row.attempt))
        same_ends = same_ends and other is not None and other.status is row.status
        if other is not None and row.status is RunStatus.COMPLETED is other.status:
            _demand(row.result == other.result, f"{row.run_id} gave {row.result!r} instead of {other.result!r}")
    if same_ends:
        events = sorted(each.id for each in history.outbox), sorted(each.id for each in reference.outbox)
        _demand(events[0] == events[1], f"{len(events[0])} events left instead of {len(events[1])}")
    if scenario.exact:
        _demand(_seen(history) == _seen(reference), f"{_seen(history)} instead of {_seen(reference)}")


def _seen(history: History) -> dict[Of, Any]:
    return {
        (row.run_id, row.attempt): (
            row.status.value,
            {step.name: step.state.value for step in history.steps[row.key]},
            sorted((error["phase"], error["step"]) for error in json.loads(row.errors)),
        )
        for row in history.rows
    }
