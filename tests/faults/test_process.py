"""The daemon is killed and ended while it has events in hand."""

import time

from tests.acceptance.process import until
from tests.faults.laboratory import HEARTBEAT_S, Laboratory


def test_a_killed_daemon_leaves_what_it_had_in_hand_to_the_next(lab: Laboratory) -> None:
    """celery#1628."""
    lab.start()
    orders = [lab.order(pause_s=0.05) for _ in range(40)]
    until(lambda: any(lab.ledger.done("left", each) for each in orders), "at work")

    lab.fleet.kill(0)
    assert lab.ledger.missing()
    since_s = time.monotonic()
    lab.fleet.start(0)

    lab.recovered("daemon killed", since_s=since_s, repeated=31)  # what was being acknowledged at that moment


def test_a_daemon_that_ends_finishes_what_it_began_and_nothing_is_run_again(lab: Laboratory) -> None:
    """faststream#1648, celery#3653, celery#5998: its heart beats on while it drains."""
    lab.start()
    long = lab.order(pause_s=2.5 * HEARTBEAT_S)
    for _ in range(40):
        lab.order(pause_s=0.01)
    lab.begun(long)

    lab.fleet.terminate(0)
    done = [lab.ledger.done(each, long) for each in ("left", "right", "straight")]
    since_s = time.monotonic()
    lab.fleet.start(0)

    lab.recovered("daemon ended", since_s=since_s)
    assert done == [1, 1, 1]
    assert {lab.ledger.begun(each, order) for each in ("left", "right", "straight") for order in lab.orders} == {1}
