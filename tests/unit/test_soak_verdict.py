"""The soak's verdict finds what it looks for."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.soak.faults import Fault
from tests.soak.ledger import Line
from tests.soak.letters import wrong_with
from tests.soak.orders import Order
from tests.soak.verdict import Verdict, judge

DONE = [("do", "open"), ("do", "approve"), ("do", "close")]
UNDONE = [("do", "open"), ("do", "approve"), ("undo", "approve"), ("undo", "open")]


def order(end: str) -> Order:
    made = Order({"id": "order-1", "gift": False}, None, end, "complete", (0, 0))
    made.acknowledged = True
    return made


def run(status: str, **changes: Any) -> dict[str, Any]:
    return {"run_id": "order-1", "status": status, "attempt": 1, "input": {"id": "order-1"}, **changes}


def lines(effects: Sequence[tuple[str, str]], *, key: str = "") -> list[Line]:
    prefix = "soak:order-1:1:"
    return [Line(0.0, 1, what, "order-1", step, f"{prefix}{step}{key}", "order-1") for what, step in effects]


def judged(end: str, runs: Sequence[dict[str, Any]], effects: Sequence[Line], log: Sequence[Any] = ()) -> Verdict:
    return judge({"order-1": order(end)}, runs, effects, log)


@pytest.mark.parametrize(("end", "effects"), [("completed", DONE), ("reverted", UNDONE), ("cancelled", UNDONE)])
def test_what_went_as_it_had_to_is_no_violation(end: str, effects: Sequence[tuple[str, str]]) -> None:
    verdict = judged(end, [run(end)], lines(effects))

    assert (verdict.violations, verdict.lost, verdict.repeats, verdict.extra) == ([], 0, 0, 0)


def test_an_effect_that_happened_twice_is_a_repeat_that_its_key_would_have_prevented() -> None:
    verdict = judged("completed", [run("completed")], lines([*DONE[:2], *DONE[1:]]))

    assert (verdict.violations, verdict.repeats, verdict.extra) == ([], 1, 0)


def test_an_effect_under_another_key_is_one_that_no_key_would_have_prevented() -> None:
    verdict = judged("completed", [run("completed")], [*lines(DONE), *lines(DONE[2:], key="-again")])

    assert (len(verdict.violations), verdict.extra) == (1, 1)


@pytest.mark.parametrize("runs", [[], [run("running")]])
def test_an_acknowledged_run_that_has_no_end_is_lost(runs: Sequence[dict[str, Any]]) -> None:
    verdict = judged("completed", runs, [])

    assert verdict.lost == 1
    assert verdict.violations


@pytest.mark.parametrize(
    ("end", "effects", "said"),
    [
        ("completed", DONE[:2], "completed with"),
        ("completed", [*DONE, ("undo", "close")], "completed with"),
        ("completed", [DONE[1], DONE[0], DONE[2]], "done out of order"),
        ("reverted", UNDONE[:3], "nobody undid ['soak:order-1:1:open']"),
        ("reverted", [*UNDONE[:2], UNDONE[3], UNDONE[2]], "undone out of order"),
        ("reverted", [UNDONE[0], UNDONE[3], UNDONE[1], UNDONE[2]], "undone out of order"),
        ("reverted", [*UNDONE[:1], ("undo", "approve"), ("do", "approve"), UNDONE[3]], "after the rollback had begun"),
    ],
)
def test_effects_that_do_not_fit_the_end_are_a_violation(
    end: str, effects: Sequence[tuple[str, str]], said: str
) -> None:
    (violation,) = judged(end, [run(end)], lines(effects)).violations

    assert said in violation


def test_another_end_than_the_one_that_was_due_is_a_violation() -> None:
    assert judged("completed", [run("reverted")], lines(DONE)).violations == [
        "order-1 had to be completed: order-1 is reverted"
    ]


def test_an_end_that_was_logged_twice_is_a_violation() -> None:
    ended = {"event": "run_finished", "run_id": "order-1", "attempt": 1}

    assert judged("completed", [run("completed")], lines(DONE), [ended, ended]).violations == ["order-1 ended 2 times"]


def test_a_child_that_did_not_end_is_a_violation() -> None:
    child = run("running", run_id="order-1:deliver")

    assert len(judged("completed", [run("completed"), child], lines(DONE)).violations) == 1


def letter(reason: str) -> dict[str, str]:
    return {
        "reason": reason,
        "error": "why",
        "first_seen_at": "2026-01-01T00:00:10Z",
        "dead_at": "2026-01-01T00:00:20Z",
    }


def kills(*at_s: int) -> list[Fault]:
    began_s = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    return [Fault("kill", began_s + each, began_s + each, began_s + each, frozenset()) for each in at_s]


@pytest.mark.parametrize(
    ("reason", "struck_at_s", "problem"),
    [
        ("crashed", (11, 14, 17), ""),
        ("crashed", (5, 11, 14, 25), "crashed, and 2 daemons died while it was there"),
        ("attempts_exhausted", (11, 14, 17), "attempts_exhausted: why"),
    ],
)
def test_only_what_three_daemons_died_with_may_be_given_up(
    reason: str, struck_at_s: tuple[int, ...], problem: str
) -> None:
    assert wrong_with(letter(reason), kills(*struck_at_s)) == problem
