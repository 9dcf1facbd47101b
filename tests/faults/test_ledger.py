"""The ledger finds what it looks for."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.ledger import EVERYBODY, PLACED, Ledger

Enter = Callable[..., None]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.jsonl")


@pytest.fixture
def enter(ledger: Ledger) -> Enter:
    """Have effects, as handlers do."""

    def enter(*subscribers: str, order: str = "o1", key: str = "e1", pid: int = 1, what: str = "done") -> None:
        with ledger.path.open("a") as file:
            file.writelines(json.dumps([0.0, pid, what, each, order, key]) + "\n" for each in subscribers)

    return enter


def test_what_went_as_it_had_to_is_balanced(ledger: Ledger, enter: Enter) -> None:
    ledger.expect("o1", EVERYBODY)
    enter(*EVERYBODY)

    balance = ledger.balance([])

    assert (balance.published, balance.handled, balance.lost, balance.wrong) == (1, 4, [], [])
    assert (balance.dead, balance.repeated, balance.extra) == (0, 0, 0)


def test_what_nobody_did_and_no_dead_letter_holds_is_lost(ledger: Ledger, enter: Enter) -> None:
    ledger.expect("o1", EVERYBODY)
    ledger.expect("o2", (), dead=PLACED)
    enter("left", "right", "straight")

    balance = ledger.balance([("left", "o2"), ("right", "o2")])

    assert balance.lost == [("echo", "o1"), ("straight", "o2")]
    assert ledger.missing() == [("echo", "o1")]


def test_what_was_done_before_it_was_known_to_be_published_is_not_missing(ledger: Ledger, enter: Enter) -> None:
    enter(*EVERYBODY)
    assert ledger.done("left", "o1") == 1

    ledger.expect("o1", EVERYBODY)

    assert ledger.missing() == []


def test_an_effect_that_is_repeated_is_told_apart_from_one_that_nobody_could_recognise(
    ledger: Ledger, enter: Enter
) -> None:
    ledger.expect("o1", EVERYBODY)
    enter(*EVERYBODY)
    enter("left")
    enter("echo", key="another")

    balance = ledger.balance([])

    assert (balance.repeated, balance.extra) == (1, 1)
    assert balance.wrong == ["echo of o1 is done under 2 keys"]


def test_dead_letters_that_are_replayed_have_to_be_handled_with_what_follows(ledger: Ledger, enter: Enter) -> None:
    ledger.expect("o1", (), dead=PLACED)
    ledger.redeem([("left", "o1"), ("straight", "o1")])
    enter("straight")

    balance = ledger.balance([("right", "o1")])

    assert balance.lost == [("echo", "o1"), ("left", "o1")]
    assert balance.wrong == []


def test_dead_letters_that_nobody_ordered_or_that_were_handled_are_wrong(ledger: Ledger, enter: Enter) -> None:
    ledger.expect("o1", EVERYBODY)
    enter(*EVERYBODY)
    enter("left", order="o9")

    balance = ledger.balance([("left", "o1")])

    assert balance.wrong == [
        "left of o1 is a dead letter",
        "nobody published o9, done by left",
        "left of o1 is done and a dead letter",
    ]


def test_what_three_processes_died_with_may_be_a_dead_letter_until_it_is_replayed(ledger: Ledger, enter: Enter) -> None:
    for order, deaths in (("o1", 3), ("o2", 2)):
        ledger.expect(order, EVERYBODY)
        enter("right", "straight", order=order)
        for pid in range(deaths):
            enter("left", order=order, pid=pid, what="begun")
    letters = [("left", "o1"), ("left", "o2")]

    balance = ledger.balance(letters)
    ledger.redeem(letters[:1])

    assert balance.wrong == ["left of o2 is a dead letter"]
    assert balance.lost == [("echo", "o2")]
    assert sorted(ledger.missing()) == [("echo", "o1"), ("echo", "o2"), ("left", "o1"), ("left", "o2")]
