"""`sagad dead-letters` and `sagad subscribers`, on dead letters that were made without a daemon."""

import asyncio
from pathlib import Path

import pytest

from daemon.app import opened
from daemon.config import load_config
from daemon.events.bus import Delivery, Subscription
from daemon.events.model import message_of
from tests.unit.cli.conftest import Sagad

EVERYTHING = [("audit", "e1"), ("audit", "e2"), ("greet", "e1"), ("greet", "e2")]


async def kill(folder: Path) -> None:
    """Publish e1 and e2, and give them up on the queues of greet and audit."""
    async with opened(load_config(folder / "config.toml"), None) as app:
        wanted = [Subscription("greet", ("customer.created",), 10), Subscription("audit", ("customer.*",), 10)]
        await app.bus.declare(wanted)
        for event_id in ("e1", "e2"):
            body = f'{{"id": "{event_id}"}}'.encode()
            await app.events.send(
                message_of("customer.created", body, source="crm", now_us=app.clock.now_us(), id=event_id)
            )
        received: asyncio.Queue[Delivery] = asyncio.Queue()
        consumers = [await app.bus.subscribe(each, received.put_nowait) for each in wanted]
        for _ in EVERYTHING:
            delivery = await received.get()
            why = "not welcome" if delivery.subscriber == "greet" else "the books are closed"
            traceback = "Traceback:\n  a line"
            await delivery.dead_letter("rejected", error=f"Reject: {why}", traceback=traceback)
        for consumer in consumers:
            await consumer.cancel()


@pytest.fixture
def dead(folder: Path, sagad: Sagad) -> "Dead":
    asyncio.run(kill(folder))
    return Dead(sagad)


class Dead:
    """Lists dead letters as pairs of subscriber and event id."""

    def __init__(self, sagad: Sagad) -> None:
        self._sagad = sagad

    def __call__(self, *filters: str) -> list[tuple[str, str]]:
        found = self._sagad("dead-letters", "list", "--json", *filters).document
        return sorted((each["subscriber"], each["event_id"]) for each in found)


def test_dead_letters_are_listed_by_subscriber_error_and_id(dead: Dead) -> None:
    assert dead() == dead("--error", "REJECT") == EVERYTHING
    assert dead("--subscriber", "greet") == [("greet", "e1"), ("greet", "e2")]
    assert dead("--error", "books are CLOSED") == [("audit", "e1"), ("audit", "e2")]
    assert dead("--id", "e2") == [("audit", "e2"), ("greet", "e2")]
    assert len(dead("--limit", "3")) == 3


@pytest.mark.usefixtures("dead")
def test_dead_letters_are_a_table_for_people(sagad: Sagad) -> None:
    lines = sagad("dead-letters", "list", "--subscriber", "greet").out.splitlines()

    assert lines[0].startswith("EVENT ID  EVENT")
    assert [line.split()[:4] for line in lines[1:]] == [
        ["e1", "customer.created", "greet", "rejected"],
        ["e2", "customer.created", "greet", "rejected"],
    ]


@pytest.mark.usefixtures("dead")
def test_a_dead_letter_is_shown_with_its_payload_and_why(sagad: Sagad) -> None:
    found = sagad("dead-letters", "show", "e1", "--subscriber", "greet", "--json").document
    shown = sagad("dead-letters", "show", "e1", "--subscriber", "greet").out

    assert {
        key: found[key] for key in ("subscriber", "event_id", "event_name", "source", "reason", "error", "data")
    } == {
        "subscriber": "greet",
        "event_id": "e1",
        "event_name": "customer.created",
        "source": "crm",
        "reason": "rejected",
        "error": "Reject: not welcome",
        "data": {"id": "e1"},
    }
    assert "\n  a line" in shown


@pytest.mark.usefixtures("dead")
def test_an_event_that_died_twice_has_to_be_told_apart(sagad: Sagad) -> None:
    done = sagad("dead-letters", "show", "e1")

    assert (done.status, done.out) == (1, "")
    assert done.err == "audit and greet have a dead letter of this event: name one with --subscriber.\n"


def test_a_replayed_dead_letter_is_on_its_queue_again(sagad: Sagad, dead: Dead) -> None:
    replayed = sagad("dead-letters", "replay", "--id", "e1", "--subscriber", "greet", "--json").document

    states = {each["id"]: each for each in sagad("subscribers", "list", "--json").document}
    assert replayed == {"replayed": 1}
    assert dead() == [("audit", "e1"), ("audit", "e2"), ("greet", "e2")]
    assert (states["greet"]["ready"], states["greet"]["dead_letters"], states["audit"]["ready"]) == (1, 1, 0)


def test_a_replay_takes_its_time(sagad: Sagad, dead: Dead) -> None:
    wrong = sagad("dead-letters", "replay", "--all", "--rate", "0")
    replayed = sagad("dead-letters", "replay", "--error", "books", "--rate", "50")

    assert (wrong.status, wrong.out) == (2, "")
    assert (replayed.status, replayed.out) == (0, "Replayed 2 dead letters.\n")
    assert dead() == [("greet", "e1"), ("greet", "e2")]


def test_what_is_chosen_is_discarded_and_nothing_else(sagad: Sagad, dead: Dead) -> None:
    assert sagad("dead-letters", "discard", "e1", "--error", "books").out == "Discarded 1 dead letter.\n"
    assert dead() == [("audit", "e2"), ("greet", "e1"), ("greet", "e2")]

    assert sagad("dead-letters", "discard", "--subscriber", "greet").out == "Discarded 2 dead letters.\n"
    assert dead() == [("audit", "e2")]

    assert sagad("dead-letters", "discard", "--all").out == "Discarded 1 dead letter.\n"
    assert dead() == []


def test_dead_letters_that_are_not_there_are_told(sagad: Sagad) -> None:
    nothing = sagad("dead-letters", "replay", "--all")
    unknown = sagad("dead-letters", "list", "--subscriber", "gret")
    also_unknown = sagad("dead-letters", "replay", "--subscriber", "gret")
    missing = sagad("dead-letters", "discard", "e9")

    assert (nothing.status, nothing.out) == (0, "Replayed 0 dead letters.\n")
    assert (unknown.status, unknown.out) == (1, "")
    assert unknown.err == "No subscriber is named 'gret', and there are no dead letters of one. Did you mean 'greet'?\n"
    assert (also_unknown.status, also_unknown.err) == (1, unknown.err)
    assert (missing.status, missing.err) == (1, "There are none: the dead letters with the event id e9.\n")
