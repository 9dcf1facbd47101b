"""A run that waits for an event and for somebody, while the daemon comes and goes."""

import json
from typing import Any

import httpx
import pytest

from tests.acceptance.application import Application
from tests.acceptance.process import DaemonProcess, until


def waits_for(daemon: DaemonProcess, run_id: str, what: str) -> None:
    """Return once a run waits for this."""

    def told() -> bool:
        with daemon.api() as api:
            shown: dict[str, Any] = api.get(f"/api/runs/{run_id}").json()
        return (shown["status"], shown["waiting_for"]) == ("waiting", what)

    until(told, f"{run_id} waits for {what}:\n{daemon.tail()}")


@pytest.mark.parametrize("is_running", [True, False], ids=["daemon", "no-daemon"])
@pytest.mark.parametrize("bus", ["embedded", "rabbitmq"])
def test_a_run_waits_for_an_event_and_for_somebody_across_kills(
    laboratory: Application, request: pytest.FixtureRequest, *, bus: str, is_running: bool
) -> None:
    broker = request.getfixturevalue("broker") if bus == "rabbitmq" else None
    laboratory.configure({"options.deliver-order.ledger": str(laboratory.ledger_path)})
    laboratory.configure(broker.settings if broker else {})

    def publish(order_id: str, cents: int) -> None:
        paid = json.dumps({"order_id": order_id, "cents": cents})
        if broker is not None:
            broker.publish("order.paid", paid.encode(), message_id=f"paid-{order_id}")
        else:
            laboratory.sagad("publish", "order.paid", paid, "--id", f"paid-{order_id}")

    with laboratory.daemon() as daemon:
        with daemon.api() as api:
            body = {"input": "order-1", "run_id": "delivery-1"}
            started = api.post("/api/workflows/deliver-order/runs", json=body)
        daemon.kill()
    if not is_running:
        publish("order-0", 1)
        publish("order-1", 500)
    with laboratory.daemon() as daemon:
        if is_running:
            publish("order-0", 1)
            publish("order-1", 500)
        waits_for(daemon, "delivery-1", "the outcome of confirm")
        daemon.kill()
    if not is_running:
        laboratory.sagad("runs", "complete-step", "delivery-1", "confirm", '"Ann"')
    with laboratory.daemon() as daemon:
        if is_running:
            with daemon.api() as api:
                answer = api.post("/api/runs/delivery-1/steps/confirm/complete", json={"output": "Ann"})
            assert answer.status_code == httpx.codes.ACCEPTED
        daemon.wait_for("run_finished", run_id="delivery-1", outcome="completed")
        with daemon.api() as api:
            run = api.get("/api/runs/delivery-1").json()
            again = api.post("/api/runs/delivery-1/steps/confirm/complete", json={"output": "Bob"})

    assert (started.status_code, started.json()["waiting_for"]) == (202, "order.paid (wait-for-event-1)")
    assert (run["status"], run["result"]) == ("completed", "order-1:500:Ann")
    assert [step for step, _, _ in laboratory.ledger()] == ["pack", "confirm", "deliver"]
    assert again.status_code == httpx.codes.CONFLICT


def test_a_command_beside_the_daemon_lets_its_run_go_on_at_once(laboratory: Application) -> None:
    laboratory.configure({"options.deliver-order.ledger": str(laboratory.ledger_path)})

    with laboratory.daemon() as daemon:
        with daemon.api() as api:
            body = {"input": "order-1", "run_id": "delivery-1"}
            api.post("/api/workflows/deliver-order/runs", json=body)
            event = {"name": "order.paid", "data": {"order_id": "order-1", "cents": 500}}
            assert api.post("/api/events", json=event).status_code == httpx.codes.ACCEPTED
        waits_for(daemon, "delivery-1", "the outcome of confirm")
        laboratory.sagad("runs", "complete-step", "delivery-1", "confirm", '"Ann"')
        daemon.wait_for("run_finished", run_id="delivery-1", outcome="completed")
