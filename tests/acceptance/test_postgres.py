"""The daemon on PostgreSQL, with either bus: what a kill leaves behind, and a database that is away."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest

from tests.acceptance.application import Application
from tests.acceptance.process import DaemonProcess, until
from tests.acceptance.test_crashes import order
from tests.services import PostgresContainer, PostgresServer, private_postgres

if TYPE_CHECKING:
    from tests.acceptance.broker import Broker

EVENTS = 100


@pytest.fixture
def server() -> Iterator[PostgresServer | PostgresContainer]:
    """A PostgreSQL that is not started yet."""
    own = private_postgres()
    yield own
    own.close()


@pytest.mark.parametrize("bus", ["embedded", "rabbitmq"])
async def test_every_event_that_was_accepted_before_a_kill_is_handled_after_it(
    laboratory: Application, bus: str, postgres_database: str, request: pytest.FixtureRequest
) -> None:
    ids = [f"order-{number}" for number in range(EVENTS)]
    gate = laboratory.folder / "gate"
    broker: Broker | None = request.getfixturevalue("broker") if bus == "rabbitmq" else None
    laboratory.configure(
        {
            "storage.url": postgres_database,
            "options.enter-order.held": "enter",
            "options.enter-order.gate": str(gate),
            **(broker.settings if broker is not None else {}),
        }
    )
    with laboratory.daemon() as daemon, daemon.api() as api:
        for event_id in ids:
            assert api.post("/api/events", json=order(event_id)).status_code == httpx.codes.ACCEPTED
        daemon.wait_for("step_begun", step="enter")
        daemon.kill()

    gate.touch()
    with laboratory.daemon() as daemon:
        until(
            lambda: len([each for each in laboratory.ledger() if each[0] == "enter"]) >= EVENTS,
            "all are entered",
            timeout_s=40,
        )
        until(lambda: not _unended(laboratory), "all runs have ended", timeout_s=20)
        assert daemon.stop() == 0

    runs = laboratory.sagad_json("runs", "list", "--workflow", "enter-order", "--limit", "200")["items"]
    assert Counter(run["trigger"]["id"] for run in runs) == Counter(ids)
    assert {run["status"] for run in runs} == {"completed"}
    # One effect for each order and step; only what was in doubt at the kill was tried twice, with the same key.
    assert {(step, order_id) for step, order_id, _ in laboratory.ledger()} == {
        (step, order_id) for step in ("reserve", "enter") for order_id in ids
    }
    assert len({key for _, _, key in laboratory.ledger()}) == 2 * EVENTS


def _unended(application: Application) -> list[object]:
    items = application.sagad_json("runs", "list", "--workflow", "enter-order", "--limit", "200")["items"]
    return [run for run in items if run["status"] != "completed"]


def test_a_daemon_waits_for_a_database_that_is_away_at_the_start(
    shipped: Application, server: PostgresServer | PostgresContainer
) -> None:
    shipped.configure({"storage.url": server.url})
    with shipped.daemon(wait=False) as daemon:
        away = daemon.wait_for("store_unavailable")
        with daemon.api() as api:
            live, ready = api.get("/livez"), api.get("/readyz")
            shown, refused = api.get("/api/runs"), api.post("/api/workflows/hello-world/runs")
        server.start()
        daemon.wait_for("store_available")
        daemon.await_ready()
        _run_greeting(daemon)
        assert daemon.stop() == 0

    assert "cannot be reached" in away["reason"]
    assert (live.status_code, ready.status_code) == (200, 503)
    assert (ready.json()["checks"]["started"], ready.json()["checks"]["store"]) == ("failing", "failing")
    assert (shown.status_code, refused.status_code) == (503, 503)


def test_a_daemon_whose_database_goes_away_says_so_and_works_when_it_is_back(
    shipped: Application, server: PostgresServer | PostgresContainer
) -> None:
    server.start()
    shipped.configure({"storage.url": server.url})
    with shipped.daemon() as daemon, daemon.api() as api:
        server.kill()
        until(lambda: api.get("/readyz").status_code == httpx.codes.SERVICE_UNAVAILABLE, "not ready")
        checks = api.get("/readyz").json()["checks"]
        server.start()
        until(lambda: api.get("/readyz").status_code == httpx.codes.OK, "ready again")
        _run_greeting(daemon)
        assert daemon.stop() == 0

    assert checks["store"] == "failing"
    assert daemon.logged("store_lost")


async def test_the_address_comes_from_a_file_and_its_password_is_never_shown(
    shipped: Application, postgres_database: str
) -> None:
    url = urlsplit(postgres_database)
    secret = shipped.folder / "url"
    secret.write_text(urlunsplit(url._replace(netloc=f"{url.username}:hush-hush@{url.hostname}:{url.port}")))
    with shipped.daemon(SAGAD_STORAGE__URL_FILE=str(secret), SAGAD_LOG__LEVEL="debug") as daemon:
        _run_greeting(daemon)
        assert daemon.stop() == 0

    assert "hush-hush" not in str(daemon.entries)
    assert "hush-hush" not in (shipped.folder / "stderr.txt").read_text()
    assert not (shipped.folder / "var").exists()


async def test_what_a_deploy_would_hold_can_be_asked_of_a_database_that_nobody_has_used(
    shipped: Application, postgres_database: str
) -> None:
    shipped.configure({"storage.url": postgres_database})

    said = shipped.sagad("check", "--in-flight").stdout

    assert said == "shop: nothing was stored yet, so there is nothing to check.\n"


def _run_greeting(daemon: DaemonProcess) -> None:
    with daemon.api() as api:
        answer = api.post("/api/workflows/hello-world/runs", json={"input": {"name": "Ada"}, "wait": True})
    assert answer.json()["status"] == "completed", answer.text
