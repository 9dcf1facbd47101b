"""What a power cut, a stop and a second signal leave behind, and what the next start makes of it."""

import signal
from collections import Counter

import httpx
import pytest

from tests.acceptance.application import Application
from tests.acceptance.process import DaemonProcess, until

EVENTS = 100
AT_ONCE = 10  # the concurrency of a subscriber that says nothing of it


def place_order(daemon: DaemonProcess, event_id: str) -> None:
    with daemon.api() as api:
        answer = api.post("/api/events", json=order(event_id))
    assert answer.status_code == httpx.codes.ACCEPTED


def order(event_id: str) -> dict[str, object]:
    return {"name": "order.placed", "id": event_id, "data": {"id": event_id, "amount": 1}}


def test_every_event_that_was_accepted_before_a_kill_is_handled_after_it(laboratory: Application) -> None:
    ids = [f"order-{number}" for number in range(EVENTS)]
    gate = laboratory.folder / "gate"
    laboratory.configure({"options.enter-order.held": "enter", "options.enter-order.gate": str(gate)})
    with laboratory.daemon() as daemon, daemon.api() as api:
        for event_id in ids:
            assert api.post("/api/events", json=order(event_id)).status_code == httpx.codes.ACCEPTED
        daemon.wait_for("step_begun", step="enter", count=AT_ONCE)
        daemon.kill()
    before = laboratory.ledger()

    gate.touch()
    with laboratory.daemon() as daemon:
        daemon.wait_for("event_handled", outcome="ok", count=EVENTS, timeout_s=30)
        (queue,) = [each for each in laboratory.sagad_json("subscribers", "list") if each["id"] == "keep-ledger"]
        assert daemon.stop() == 0

    runs = laboratory.sagad_json("runs", "list", "--workflow", "enter-order", "--limit", "200")["items"]
    assert [step for step, _, _ in before] == ["reserve"] * AT_ONCE
    # One run an event, and every step of it once: also of those that were cut off between two steps.
    assert Counter(run["trigger"]["id"] for run in runs) == Counter(ids)
    assert {run["status"] for run in runs} == {"completed"}
    assert Counter((step, order_id) for step, order_id, _ in laboratory.ledger()) == Counter(
        (step, order_id) for step in ("reserve", "enter") for order_id in ids
    )
    assert (queue["ready"], queue["in_flight"], queue["dead_letters"]) == (0, 0, 0)


def test_a_stop_lets_a_running_handler_finish(laboratory: Application) -> None:
    laboratory.configure(
        {"options.enter-order.held": "enter", "options.enter-order.gate": str(laboratory.folder / "gate")}
    )
    with laboratory.daemon() as daemon:
        place_order(daemon, "order-1")
        daemon.wait_for("step_begun", step="enter")

        daemon.send(signal.SIGTERM)
        daemon.wait_for("daemon_stopping", reason="SIGTERM")
        with daemon.api() as api:
            until(lambda: api.get("/readyz").status_code == httpx.codes.SERVICE_UNAVAILABLE, "not ready any more")
            assert api.get("/livez").status_code == httpx.codes.OK
        (laboratory.folder / "gate").touch()

        assert daemon.wait() == 0
        assert daemon.logged("event_handled", event_id="order-1", outcome="ok")
        assert daemon.entries[-1]["event"] == "daemon_stopped"
    assert [step for step, _, _ in laboratory.ledger()] == ["reserve", "enter"]


@pytest.mark.parametrize("hurry", ["grace period", "second signal"])
@pytest.mark.parametrize("bus", ["embedded", "rabbitmq"])
def test_what_a_stop_cuts_off_goes_on_after_the_next_start_where_it_stood(
    laboratory: Application, bus: str, hurry: str, request: pytest.FixtureRequest
) -> None:
    if bus == "rabbitmq":
        laboratory.configure(request.getfixturevalue("broker").settings)
    gate = laboratory.folder / "gate"
    laboratory.configure(
        {
            "daemon.shutdown_grace_s": 0.2 if hurry == "grace period" else 60,
            "options.enter-order.held": "enter",
            "options.enter-order.gate": str(gate),
        }
    )
    with laboratory.daemon() as daemon:
        place_order(daemon, "order-1")
        run_id = daemon.wait_for("step_begun", step="enter")["run_id"]

        daemon.send(signal.SIGTERM)
        if hurry == "second signal":
            daemon.wait_for("daemon_stopping")
            daemon.send(signal.SIGINT)

        assert daemon.wait(timeout_s=5) == 0
        assert not daemon.logged("run_finished")
        assert not daemon.logged("event_handled", outcome="ok")
        assert not [each for each in daemon.entries if each["level"] in {"error", "critical"}]

    cut = laboratory.sagad_json("runs", "show", run_id)
    gate.touch()
    with laboratory.daemon() as daemon:
        daemon.wait_for("run_finished", run_id=run_id, outcome="completed")
        daemon.wait_for("event_handled", event_id="order-1", outcome="ok")

    assert cut["status"] == "running"
    assert [step["name"] for step in cut["steps"].values() if step["state"] == "completed"] == ["reserve"]
    assert [step for step, _, _ in laboratory.ledger()] == ["reserve", "enter"]


def test_a_run_started_by_a_client_goes_on_when_its_daemon_is_killed(laboratory: Application) -> None:
    gate = laboratory.folder / "gate"
    laboratory.configure({"options.enter-order.held": "enter", "options.enter-order.gate": str(gate)})
    body = {"input": {"id": "order-1"}, "run_id": "run-1", "wait": False}
    with laboratory.daemon() as daemon:
        with daemon.api() as api:
            answer = api.post("/api/workflows/enter-order/runs", json=body)
        daemon.wait_for("step_begun", step="enter")
        daemon.kill()

    gate.touch()
    with laboratory.daemon() as daemon:
        daemon.wait_for("run_finished", run_id="run-1", outcome="completed")

    assert (answer.status_code, answer.json()["status"]) == (202, "running")
    assert [step for step, _, _ in laboratory.ledger()] == ["reserve", "enter"]
