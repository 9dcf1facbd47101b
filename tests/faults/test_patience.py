"""What takes long: a handler that the broker would not wait for, and an event that is tried eleven times."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.acceptance.process import until
from tests.faults.laboratory import Laboratory

TIMEOUT_S = 6


@pytest.fixture
def impatient(lab: Laboratory) -> Iterator[Laboratory]:
    """The laboratory, whose broker waits six seconds for an acknowledgement."""
    lab.application.configure({"broker.consumer_timeout_s": TIMEOUT_S})
    with lab.patience(TIMEOUT_S):
        yield lab


def test_long_and_often_retried_events_are_handled_on_a_broker_that_waits_six_seconds(impatient: Laboratory) -> None:
    """celery#6760, celery#6954, dramatiq#827, dramatiq#877: the broker takes its channel, and everything comes again.

    celery#9867, celery#10111, celery#10095: a death header drops a retry.
    """
    lab = impatient
    lab.start()
    long = lab.order(pause_s=1.5 * TIMEOUT_S)
    retried = lab.order(fails=10)

    until(lambda: lab.ledger.is_done(long) and lab.ledger.is_done(retried), "both are handled", timeout_s=40)

    lab.recovered("consumer timeout, and ten retries", since_s=time.monotonic())
    assert [lab.ledger.begun(each, long) for each in ("left", "right", "straight")] == [1, 1, 1]
    assert lab.ledger.begun("left", retried) == 11
    assert not lab.daemon.logged("broker_lost")


def test_a_daemon_that_is_killed_when_the_store_has_what_it_is_at_leaves_that_and_its_order_to_the_next(
    impatient: Laboratory, tmp_path: Path
) -> None:
    """celery#1628: what the broker was told is done, and is not."""
    lab = impatient
    lab.start()
    long = lab.order(pause_s=1.5 * TIMEOUT_S)
    for _ in range(3):
        lab.order()
    lab.begun(long)
    until(lambda: parked(tmp_path, lab.broker.app) == {"left", "right", "straight"}, "parked", timeout_s=TIMEOUT_S)

    lab.fleet.kill(0)
    assert ("straight", long) in lab.ledger.missing()
    since_s = time.monotonic()
    lab.fleet.start(0)

    lab.recovered("killed while the store had what it was at", since_s=since_s, repeated=6)
    assert [lab.ledger.begun(each, long) for each in ("left", "right", "straight")] == [2, 2, 2]
    assert lab.ledger.disorder("straight", lab.orders) == []


def parked(folder: Path, app: str) -> set[str]:
    """Return the subscribers of which the store has something."""
    with closing(sqlite3.connect(folder / "sagad.db")) as connection:
        return {name for (name,) in connection.execute("SELECT subscriber FROM deliveries WHERE app = ?", (app,))}
