"""The broker is stopped, killed, emptied and low on memory."""

import time
from contextlib import ExitStack

import pytest

from tests.acceptance.process import until
from tests.faults.laboratory import Laboratory
from tests.faults.publisher import repeating


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_broker_that_goes_and_comes_back_costs_no_event_and_repeats_none_that_is_running(
    lab: Laboratory, how: str
) -> None:
    """aio-pika#231, aio-pika#501, aio-pika#459, dramatiq#207, dramatiq#36, dramatiq#187, celery#4671, celery#987.

    taskiq-aio-pika#46, taskiq-aio-pika#59: the worker dies of an answer to a connection that is gone.
    """
    lab.start()
    with lab.traffic():
        held = lab.order(held=True)
        lab.begun(held, by={"left", "right"})

        if how == "stopped":
            lab.node.stop()
        else:
            lab.kill_broker()
        lab.daemon.wait_for("broker_lost")
        lab.node.start()
        since_s = time.monotonic()
        lab.daemon.wait_for("broker_connected", count=2)
        lab.gate.touch()

    lab.recovered(f"broker {how}", since_s=since_s)
    assert [lab.ledger.begun(each, held) for each in ("left", "right")] == [1, 1]
    assert [each["consumers"] for each in lab.subscribers().values()] == [1] * 4


def test_a_broker_that_comes_back_empty_loses_nothing_of_what_we_publish(lab: Laboratory) -> None:
    """aio-pika#632, faststream#2758: the topology is declared again before anything is published."""
    lab.start()
    lab.order()
    lab.balance()  # what is in a queue goes with it

    lab.node.ctl("stop_app")
    with ExitStack() as clients:
        for _ in range(5):
            clients.enter_context(repeating(lambda: lab.order(by=lab.by_the_daemon), every_s=0.01))
        lab.node.ctl("reset")
        lab.node.ctl("start_app")
        since_s = time.monotonic()
        lab.daemon.wait_for("broker_connected", count=2)

    balance = lab.recovered("broker restarted empty", since_s=since_s, by=lab.by_the_daemon)
    assert balance.published > 5


def test_a_broker_low_on_memory_costs_no_event_and_no_connection(lab: Laboratory) -> None:
    lab.start()
    with lab.traffic():
        lab.node.ctl("set_vm_memory_high_watermark", "absolute", "1")
        try:
            until(lambda: "Blocked" in lab.publisher.trouble, "the broker takes nothing")
            ready = lab.checks()
        finally:
            lab.node.ctl("set_vm_memory_high_watermark", "absolute", "512MB")
        since_s = time.monotonic()

    lab.recovered("memory alarm", since_s=since_s)
    assert set(ready.values()) == {"ok"}
    assert not lab.daemon.logged("broker_lost")
