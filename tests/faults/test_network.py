"""The network freezes, is slow, is cut, and is not there yet."""

import time

import httpx

from tests.acceptance.process import until
from tests.faults.laboratory import Laboratory


def test_a_network_that_is_frozen_for_longer_than_the_heartbeat_costs_no_event(lab: Laboratory) -> None:
    """aio-pika#563, aio-pika#577, aio-pika#588, aio-pika#620, aiormq#165, celery#3201, celery#9705."""
    lab.start()
    with lab.traffic():
        held = lab.order(held=True)
        lab.begun(held, by={"left", "right"})

        lab.network.freeze()
        lab.gate.touch()  # what acknowledges it arrives nowhere
        until(lambda: lab.ledger.done("left", held) == lab.ledger.done("right", held) == 1, "done in the freeze")
        lab.daemon.wait_for("broker_lost", timeout_s=20)
        lab.network.thaw()
        since_s = time.monotonic()

    lab.recovered("network frozen", since_s=since_s)
    assert [lab.ledger.begun(each, held) for each in ("left", "right")] == [1, 1]


def test_a_network_that_is_slow_and_cut_again_and_again_costs_no_event(lab: Laboratory) -> None:
    """kombu#637: the process survives whatever recovery meets."""
    lab.start()
    lab.network.delay(0.02)
    with lab.traffic():
        for number in range(1, 6):
            lab.network.cut()
            lab.daemon.wait_for("broker_lost", count=number)
            lab.daemon.wait_for("broker_connected", count=number + 1)
        since_s = time.monotonic()
        lab.network.delay(0)

    lab.recovered("network slow, and cut five times", since_s=since_s)


def test_what_is_emitted_before_the_broker_was_ever_there_is_published_once_it_is(lab: Laboratory) -> None:
    """nameko#746: a publisher dies when the broker is down at its start."""
    lab.network.refuse()
    lab.fleet.start(0, wait=False)
    with lab.daemon.api() as api:
        answer = api.post("/api/workflows/announce-order/runs", json={"input": "order-early"})
    lab.ledger.expect("order-early", {"echo"})

    lab.network.accept()
    since_s = time.monotonic()

    until(lambda: set(lab.checks().values()) == {"ok"}, "ready")
    lab.recovered("broker away at the start", since_s=since_s)
    assert answer.status_code == httpx.codes.OK
    assert lab.ledger.done("echo", "order-early") == 1
