"""A disk that is full: what the daemon holds, what it says, and that it goes on by itself once there is room.

What the daemon writes is bounded by a limit of its process, which gives it a real error of the system; everybody may
set one for a process of theirs, and lift it again.
"""

import os
import resource
import socket
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from tests.acceptance.application import Application
from tests.acceptance.process import DaemonProcess, until
from tests.acceptance.test_crashes import AT_ONCE, order, place_order
from tests.acceptance.test_process import told

if TYPE_CHECKING:
    from tests.acceptance.broker import Broker

_BEGINNING_BYTES = 64 * 1024
LIMITED = f"""
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, ({_BEGINNING_BYTES}, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
os.execv(sys.argv[1], sys.argv[1:])
"""
FEW = [f"order-{number}" for number in range(AT_ONCE)]


@contextmanager
def full_disk(daemon: DaemonProcess) -> Iterator[None]:
    """Let the daemon write into no file beyond its beginning, where no new page of the database would be."""
    process = psutil.Process(daemon.pid)
    before = process.rlimit(resource.RLIMIT_FSIZE)
    process.rlimit(resource.RLIMIT_FSIZE, (_BEGINNING_BYTES, before[1]))
    yield
    process.rlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("bus", ["embedded", "rabbitmq"])
def test_a_full_disk_loses_nothing_is_said_once_and_over_when_there_is_room(
    laboratory: Application, bus: str, systemd: socket.socket, request: pytest.FixtureRequest
) -> None:
    broker: Broker | None = request.getfixturevalue("broker") if bus == "rabbitmq" else None
    gate = laboratory.folder / "gate"
    laboratory.configure(
        {
            "options.enter-order.held": "enter",
            "options.enter-order.gate": str(gate),
            **(broker.settings if broker is not None else {}),
        }
    )
    with laboratory.daemon(NOTIFY_SOCKET=str(systemd.getsockname())) as daemon, daemon.api() as api:
        for each in FEW:
            place_order(daemon, each)
        daemon.wait_for("step_begun", step="enter", count=AT_ONCE)
        with full_disk(daemon):
            until(lambda: api.get("/readyz").status_code == httpx.codes.SERVICE_UNAVAILABLE, "not ready")
            checks = api.get("/readyz").json()["checks"]
            started = api.post("/api/workflows/enter-order/runs", json={"input": {"id": "x"}, "run_id": "x"})
            published = api.post("/api/events", json=order("order-late"))
            shown = api.get("/api/runs", params={"workflow": "enter-order"})
            while "; store: The database cannot be written: " not in told(systemd, "STATUS=")[-1]:
                pass
            gate.touch()
            until(lambda: len(laboratory.ledger()) == 2 * AT_ONCE, "what ran has had its effects")
            during = list(daemon.entries)
        until(lambda: api.get("/readyz").status_code == httpx.codes.OK, "ready again")
        assert api.post("/api/events", json=order("order-late")).status_code == httpx.codes.ACCEPTED
        daemon.wait_for("run_finished", outcome="completed", count=AT_ONCE + 1)
        assert daemon.stop() == 0

    assert checks["store"] == "failing"
    assert started.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert "takes no writes at the moment" in started.json()["detail"]
    assert started.headers["retry-after"] == "1"
    # A broker keeps events by itself.
    assert published.status_code == (httpx.codes.ACCEPTED if broker else httpx.codes.SERVICE_UNAVAILABLE)
    assert [run["status"] for run in shown.json()["items"]] == ["running"] * AT_ONCE
    assert not [each for each in during if each["event"] in {"run_finished", "event_handled"}]
    assert [each["event"] for each in during if each["level"] == "warning"] == ["store_lost", "lease_not_renewed"]
    assert len(daemon.logged("store_available")) == 1
    assert not [each for each in daemon.entries if each["level"] in {"error", "critical"}]
    assert Counter((step, name) for step, name, _ in laboratory.ledger()) == Counter(
        (step, name) for step in ("reserve", "enter") for name in [*FEW, "order-late"]
    )


def test_a_daemon_that_starts_on_a_full_disk_waits_until_there_is_room(shipped: Application) -> None:
    with shipped.daemon() as before:
        before.kill()  # what it wrote last is in a file of its own, which every write makes longer
    command = [sys.executable, "-c", LIMITED, *shipped.command("run")]
    daemon = DaemonProcess(command, cwd=shipped.folder, env=os.environ)
    try:
        daemon.wait_for("store_unavailable", timeout_s=40)
        with daemon.api() as api:
            ready = api.get("/readyz")
        psutil.Process(daemon.pid).rlimit(resource.RLIMIT_FSIZE, resource.getrlimit(resource.RLIMIT_FSIZE))
        daemon.await_ready()
        assert daemon.stop() == 0
    finally:
        daemon.end()

    assert (ready.status_code, ready.json()["checks"]["store"]) == (httpx.codes.SERVICE_UNAVAILABLE, "failing")
