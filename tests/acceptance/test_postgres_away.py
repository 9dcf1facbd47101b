"""A PostgreSQL that goes away under load, is full, or loses its connections: the daemon holds what it has."""

import asyncio
import math
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import asyncpg
import httpx
import pytest

from tests.acceptance.application import Application
from tests.acceptance.process import DaemonProcess, Entry, until
from tests.acceptance.test_crashes import order
from tests.integration.proxy import Proxy
from tests.services import PostgresContainer, PostgresServer, private_postgres

FILL_UP = """
    CREATE FUNCTION sagad.is_full() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
    CREATE TRIGGER is_full BEFORE INSERT OR UPDATE ON sagad.runs EXECUTE FUNCTION sagad.is_full();
    CREATE TRIGGER is_full BEFORE INSERT OR UPDATE ON sagad.steps EXECUTE FUNCTION sagad.is_full();
    CREATE TRIGGER is_full BEFORE INSERT ON sagad.deliveries EXECUTE FUNCTION sagad.is_full()"""
HOLD_UP = "LOCK TABLE sagad.runs, sagad.steps, sagad.deliveries"
MAKE_ROOM = "DROP FUNCTION sagad.is_full CASCADE"
# At what is sent: a batch in one request, one in steps or the taking of deliveries; before or after its answer.
CUTS = [(marker, before) for marker in (b"enter-order", b"COMMIT") for before in (True, False) * 2]


@pytest.fixture
def server() -> Iterator[PostgresServer | PostgresContainer]:
    """A PostgreSQL that a test may kill."""
    with private_postgres() as own:
        yield own


class Clients:
    """One after the other, events of fresh orders, each sent again until it was accepted; in a thread."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self.accepted: list[str] = []
        self.answers: Counter[int] = Counter()
        self._sent_s = math.inf  # when the one that is not answered yet was sent
        self._daemon = daemon
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def _work(self) -> None:
        number = 0
        with self._daemon.api() as api, suppress(httpx.TransportError):  # the test has failed, and says why
            while not self._stopping.is_set():
                self._sent_s = time.monotonic()
                answer = api.post("/api/events", json=order(f"order-{number}"))
                self._sent_s = math.inf
                self.answers[answer.status_code] += 1
                if answer.status_code == httpx.codes.ACCEPTED:
                    self.accepted.append(f"order-{number}")
                    number += 1
                self._stopping.wait(0.01)

    def await_waiting(self) -> None:
        """Return when one has not been answered for so long that the daemon is at it."""
        until(lambda: time.monotonic() - self._sent_s > 0.5, "a client waits")

    def await_more(self, count: int) -> None:
        """Return when so many more events were accepted."""
        enough = len(self.accepted) + count
        until(lambda: len(self.accepted) >= enough, f"{count} more are accepted", timeout_s=30)

    def finish(self) -> None:
        """Stop, once the last one is answered."""
        self._stopping.set()
        self._thread.join()

    @contextmanager
    def at_work(self) -> Iterator["Clients"]:
        """Send inside the block."""
        self._thread.start()
        try:
            yield self
        finally:
            self.finish()


def test_a_database_that_is_gone_for_a_while_loses_nothing_and_is_said_once(
    laboratory: Application, server: PostgresServer | PostgresContainer
) -> None:
    laboratory.configure({"storage.url": server.url})
    with laboratory.daemon() as daemon, daemon.api() as api, Clients(daemon).at_work() as clients:
        clients.await_more(20)
        server.kill()
        until(lambda: clients.answers[503] >= 20, "new work is refused")
        checks = api.get("/readyz").json()["checks"]
        started = api.post("/api/workflows/enter-order/runs", json={"input": {"id": "x"}, "run_id": "x"})
        shown = api.get("/api/runs")
        until(lambda: bool(daemon.logged("lease_not_renewed")), "a beat has failed")
        during = list(daemon.entries)
        server.start()
        clients.await_more(20)
        clients.finish()
        everything_is_entered_once(laboratory, daemon, clients.accepted)
        until(lambda: api.get("/readyz").status_code == httpx.codes.OK, "ready")
        assert daemon.stop() == 0

    assert checks["store"] == "failing"
    assert set(clients.answers) == {202, 503}
    for answer in (started, shown):
        assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
        assert answer.headers["retry-after"] == "1"
    assert [each["event"] for each in warnings(during)] == ["store_lost", "lease_not_renewed"]
    assert len(daemon.logged("store_available")) == 1


async def test_a_full_disk_of_the_database_loses_nothing_and_is_said_once(
    laboratory: Application, postgres_database: str
) -> None:
    laboratory.configure({"storage.url": postgres_database})
    connection = await asyncpg.connect(postgres_database)
    with laboratory.daemon() as daemon, daemon.api() as api, Clients(daemon).at_work() as clients:
        clients.await_more(20)
        async with connection.transaction():
            await connection.execute(HOLD_UP)
            clients.await_waiting()
            await connection.execute(FILL_UP)
        until(lambda: api.get("/readyz").status_code == httpx.codes.SERVICE_UNAVAILABLE, "not ready")
        checks = api.get("/readyz").json()["checks"]
        refused = api.post("/api/events", json=order("order-late"))
        shown = api.get("/api/runs")
        during = list(daemon.entries)
        await connection.execute(MAKE_ROOM)
        clients.await_more(20)
        clients.finish()
        everything_is_entered_once(laboratory, daemon, clients.accepted)
        assert daemon.stop() == 0
    await connection.close()

    assert checks["store"] == "failing"
    assert (refused.status_code, shown.status_code) == (503, 200)
    assert clients.answers[503] == 0  # the one that was on its way waited
    (said,) = warnings(during)
    assert said["event"] == "store_lost"
    assert said["reason"] == ("The database cannot be written: could not extend file: No space left on device.")
    assert len(daemon.logged("store_available")) == 1


async def test_connections_that_are_lost_in_the_middle_of_batches_lose_and_repeat_nothing(
    laboratory: Application, postgres_database: str
) -> None:
    async with Proxy(postgres_database) as proxy:
        laboratory.configure({"storage.url": proxy.url})

        def work() -> list[str]:
            with laboratory.daemon() as daemon, Clients(daemon).at_work() as clients:
                for number, (marker, before) in enumerate(CUTS):
                    clients.await_more(5)
                    proxy.cut_at(marker, before=before)
                    until(lambda number=number: proxy.cuts > number, "the connections are cut")  # type: ignore[misc]
                clients.await_more(5)
                clients.finish()
                everything_is_entered_once(laboratory, daemon, clients.accepted)
                assert daemon.stop() == 0
            return clients.accepted

        accepted = await asyncio.to_thread(work)

    assert proxy.cuts == len(CUTS)
    assert len(accepted) >= 5 * len(CUTS)


def everything_is_entered_once(laboratory: Application, daemon: DaemonProcess, orders: list[str]) -> None:
    """Return once every order has had each effect; none has had it twice."""
    try:
        until(lambda: len(laboratory.ledger()) >= 2 * len(orders), "all are entered", timeout_s=30)
    except AssertionError as error:
        raise AssertionError(f"{error}:\n{daemon.tail()}") from None
    assert Counter((step, name) for step, name, _ in laboratory.ledger()) == Counter(
        (step, name) for step in ("reserve", "enter") for name in orders
    )


def warnings(entries: list[Entry]) -> list[Entry]:
    return [each for each in entries if each["level"] in {"warning", "error", "critical"}]
