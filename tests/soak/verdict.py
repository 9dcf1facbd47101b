"""Whether everything that was acknowledged has ended, once, as it had to, with the effects that it had to have."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.acceptance.process import Entry
from tests.soak.ledger import CHILD, Line
from tests.soak.orders import Order, place_of

_WELL = frozenset({"completed", "reverted", "cancelled"})


@dataclass(slots=True)
class Verdict:
    """What was found.

    Attributes:
        lost: Orders that were acknowledged and have no run that has ended.
        ends: How many runs ended with each status.
        effects: How many lines the ledger has.
        repeats: Those among them that had happened before, by their idempotency key.
        extra: Effects of one step beyond the first that no idempotency key would have kept from happening.
        afresh: Runs that were rolled back and tried afresh: their event was delivered, or their request sent, again.
        violations: Everything that must not be, as sentences.
    """

    lost: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    effects: int = 0
    repeats: int = 0
    extra: int = 0
    afresh: int = 0
    violations: list[str] = field(default_factory=list)


def judge(
    orders: Mapping[str, Order], runs: Sequence[Mapping[str, Any]], lines: Sequence[Line], log: Iterable[Entry]
) -> Verdict:
    """Compare what was ordered with the runs that are stored, the effects, and what the daemons logged."""
    verdict = Verdict(effects=len(lines))
    of_order: dict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for run in sorted(runs, key=lambda each: int(each["attempt"])):  # the latest attempt is the run
        if not run["run_id"].endswith(CHILD):
            of_order[run["input"].get("order", run["input"])["id"]][run["run_id"]] = run
        if run["status"] not in _WELL:
            verdict.violations.append(f"attempt {run['attempt']} of {run['run_id']} is {run['status']}")
    effects: dict[str, list[Line]] = defaultdict(list)
    said: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        (effects[line.root] if line.run_id else said[line.order]).append(line)
    for order in orders.values():
        found = list(of_order.pop(order.id, {}).values())
        if not found or len(found) > 1 or found[0]["status"] not in _WELL:
            _judge_lost(verdict, order, found)
            continue
        (run,) = found
        verdict.ends[run["status"]] += 1
        _judge_end(verdict, order, run)
        _judge_effects(verdict, order, run, effects.pop(run["run_id"], []))
        _judge_events(verdict, order, said.pop(order.id, []))
    verdict.violations += [f"nobody ordered {each}" for each in [*of_order, *effects, *said]]
    ended = Counter((each["run_id"], each["attempt"]) for each in log if each.get("event") == "run_finished")
    verdict.violations += [f"{run_id} ended {count} times" for (run_id, _), count in ended.items() if count > 1]
    return verdict


def _judge_lost(verdict: Verdict, order: Order, found: Sequence[Mapping[str, Any]]) -> None:
    states = ", ".join(f"{run['run_id']} is {run['status']}" for run in found) or "it has no run"
    if not order.acknowledged and not found:
        return
    if len(found) < 2 and not any(run["status"] == "failed" for run in found):
        verdict.lost += 1
    verdict.violations.append(f"{order.id} had to be {order.end}: {states}")


def _judge_end(verdict: Verdict, order: Order, run: Mapping[str, Any]) -> None:
    if run["status"] != order.end:
        verdict.violations.append(f"{order.id} had to be {order.end}: {run['run_id']} is {run['status']}")
    if order.seen not in {None, run["status"]}:
        verdict.violations.append(f"{order.id}: a client saw {order.seen}, and it is {run['status']}")
    if run["attempt"] > 1:
        verdict.afresh += 1
        if run["status"] != "reverted":
            verdict.violations.append(f"{order.id}: {run['run_id']} was {run['status']} in attempt {run['attempt']}")


def _judge_effects(verdict: Verdict, order: Order, run: Mapping[str, Any], lines: Sequence[Line]) -> None:
    attempts: dict[int, list[Line]] = defaultdict(list)
    for line in lines:
        attempts[line.attempt].append(line)
    if sorted(attempts) != list(range(1, run["attempt"] + 1)) and (order.end != "cancelled" or attempts):
        verdict.violations.append(f"{run['run_id']}: effects of attempts {sorted(attempts)} of {run['attempt']}")
    for attempt, of_attempt in attempts.items():
        where = f"{order.id}, {run['run_id']}, attempt {attempt}"
        once: dict[tuple[str, str], Line] = {}
        for line in of_attempt:
            once.setdefault((line.what, line.key), line)
        verdict.repeats += len(of_attempt) - len(once)
        done = [line for line in once.values() if line.what == "do"]
        undone = [line for line in once.values() if line.what == "undo"]
        for each in (done, undone):
            extra = len(each) - len({(line.run_id, line.step) for line in each})
            verdict.extra += extra
            if extra:
                verdict.violations.append(f"{where}: {extra} effects are repeated under another key")
        if problem := _problem(order, list(once.values()), done, undone):
            verdict.violations.append(f"{where}: {problem}")


def _problem(order: Order, once: Sequence[Line], done: Sequence[Line], undone: Sequence[Line]) -> str:
    forth = [place_of(line.step) for line in done]
    if forth != sorted(forth):
        return f"done out of order: {[line.step for line in done]}"
    if order.end != "completed":
        return _problem_undoing(order, once, done, undone)
    if {line.step for line in done} != order.steps or undone:
        return f"completed with {[(line.what, line.step) for line in once]}"
    return ""


def _problem_undoing(order: Order, once: Sequence[Line], done: Sequence[Line], undone: Sequence[Line]) -> str:
    if missing := {line.key for line in done} - {line.key for line in undone}:
        return f"{order.end}, but nobody undid {sorted(missing)}"
    back = [place_of(line.step) for line in undone]
    if back != sorted(back, reverse=True):
        return f"undone out of order: {[line.step for line in undone]}"
    if "undo" in [line.what for line in once[: len(done)]]:
        return f"done after the rollback had begun: {[(line.what, line.step) for line in once]}"
    return ""


def _judge_events(verdict: Verdict, order: Order, lines: Sequence[Line]) -> None:
    ids = {line.key for line in lines}
    verdict.repeats += len(lines) - len(ids)
    if len(ids) != int(order.end == "completed" and order.parcels is not None):
        verdict.violations.append(f"{order.id}, {order.end}: {len(ids)} events say that it is closed")
