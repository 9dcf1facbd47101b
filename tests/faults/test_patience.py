"""What takes long: a handler that the broker would not wait for, and an event that is tried eleven times."""

import time
from collections.abc import Iterator

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
