"""Queues are deleted, replaced by others, and wanted for other events than before."""

import time
from pathlib import Path

from tests.acceptance.process import until
from tests.faults.laboratory import Laboratory
from tests.services.silence import silenced

SOURCE = Path(__file__).parent / "application/subscribers/keep_ledger.py"


def test_a_queue_that_is_deleted_under_its_consumer_is_back_within_five_seconds(lab: Laboratory) -> None:
    """aio-pika#334."""
    lab.start()
    held = lab.order(held=True)
    lab.begun(held)

    lab.amqp(lambda channel: channel.queue_delete(lab.queue("left")))
    since_s = time.monotonic()
    lab.daemon.wait_for("consumer_cancelled_by_broker", subscriber="left", timeout_s=5)
    until(lambda: lab.subscribers()["left"]["consumers"] == 1, "left consumes", timeout_s=5)
    lab.gate.touch()

    lab.recovered("queue deleted", since_s=since_s)
    assert [lab.ledger.begun(each, held) for each in ("left", "right", "straight")] == [1, 1, 1]


def test_a_queue_with_other_arguments_stops_its_own_subscriber_alone_until_it_is_mended(lab: Laboratory) -> None:
    """dramatiq#301."""
    lab.start()
    lab.order()
    lab.balance()

    lab.network.refuse()
    lab.daemon.wait_for("broker_lost")
    lab.replace_queue("left")
    lab.network.accept()
    lab.daemon.wait_for("subscriber_out_of_service", subscriber="left")
    meanwhile = lab.order()
    others = ("right", "straight")
    until(lambda: all(lab.ledger.done(each, meanwhile) for each in others), "the others go on")
    states = lab.checks()
    kept = lab.mend_queue("left")
    since_s = time.monotonic()

    lab.recovered("queue with other arguments", since_s=since_s)
    assert {name for name, state in states.items() if state != "ok"} == {"subscriber:left"}
    assert kept == 1


def test_a_queue_that_does_not_answer_stops_nothing_but_what_goes_to_it(lab: Laboratory) -> None:
    lab.start()
    lab.order()
    lab.balance()

    with silenced(lab.node, lab.queue("echo")):
        lab.network.cut()  # what a new connection sends first is what the broker waits for
        lab.daemon.wait_for("broker_connected", count=2)
        meanwhile = [lab.order(), lab.order(fails=1), lab.order()]
        others = ("left", "right", "straight")
        until(lambda: all(lab.ledger.done(each, order) for order in meanwhile for each in others), "the others go on")
        lab.daemon.wait_for("publish_unconfirmed", routing_key="order.entered")
        failing = lab.order(fails=1)  # by now, what waits in the broker for another attempt goes apart from it
        until(lambda: lab.ledger.done("left", failing) > 0, "another attempt is made", timeout_s=5)
        unhandled = [order for order in (*meanwhile, failing) if not lab.ledger.done("echo", order)]
    since_s = time.monotonic()

    lab.recovered("queue that did not answer", since_s=since_s)
    assert unhandled == [*meanwhile, failing]
    lab.daemon.wait_for("publish_confirmed_again", routing_key="order.entered")


def test_a_subscriber_that_changed_its_events_gets_the_new_ones_and_drops_the_old(lab: Laboratory) -> None:
    lab.start()
    lab.order()
    lab.balance()
    lab.fleet.terminate(0)
    others = ("right", "straight")
    before = lab.order(handled=others)
    source = SOURCE.read_text()
    head, mark, rest = source.partition('@subscriber(OrderPlaced, id="left"')
    assert mark
    moved = 'class OrderMoved(OrderPlaced, name="order.moved"):\n    """Another event."""\n\n\n'
    rest = rest.replace("event: OrderPlaced", "event: OrderMoved", 1)
    changed = f'{head}{moved}@subscriber(OrderMoved, id="left"{rest}'
    lab.application.add("subscribers/keep_ledger.py", changed)

    lab.fleet.start(0)
    since_s = time.monotonic()
    lab.daemon.wait_for("event_handled", subscriber="left", event_id=before, outcome="ignored")
    lab.order(handled=("left", "echo"), name="order.moved")

    lab.recovered("subscriber changed its events", since_s=since_s, handled=others)
    assert lab.ledger.begun("left", lab.orders[-1]) == 0
