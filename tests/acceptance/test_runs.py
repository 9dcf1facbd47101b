"""Workflows started by HTTP, by command and by a job; and one that changes a product in two places or in neither."""

import json
import sqlite3
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from tests.acceptance.application import Application
from tests.acceptance.process import DaemonProcess


def start(daemon: DaemonProcess, workflow: str, body: dict[str, Any]) -> httpx.Response:
    with daemon.api() as api:
        return api.post(f"/api/workflows/{workflow}/runs", json=body)


def test_the_failing_example_rolls_back_before_your_eyes(shipped: Application) -> None:
    with shipped.daemon() as daemon:
        answer = start(daemon, "failing-example", {"run_id": "example-1"})

        daemon.wait_for("run_finished", run_id="example-1")
        told = [each["event"] for each in daemon.entries if each.get("run_id") == "example-1"]
        shown = shipped.sagad_json("runs", "show", "example-1")
        failed = shipped.sagad("workflow", "run", "failing-example", status=1)

    run = answer.json()
    assert (answer.status_code, run["status"]) == (200, "reverted")
    assert told == ["account_opened", "account_closed", "run_finished"]
    assert run["compensated"] == ["open-account"]
    assert [(each["step"], each["phase"]) for each in run["errors"]] == [("charge-account", "invoke")]
    assert run["errors"][0]["attempts"][0]["message"] == "account-1 has no money"
    assert shown == run
    assert "RuntimeError: account-1 has no money" in failed.stderr
    assert "rolled back: open-account." in failed.stderr


def test_a_run_id_is_one_run_however_often_it_is_asked_for(shipped: Application) -> None:
    with shipped.daemon() as daemon:
        first = start(daemon, "hello-world", {"input": {"name": "Ada"}, "run_id": "hello-1"})
        second = start(daemon, "hello-world", {"input": {"name": "Ada"}, "run_id": "hello-1"})
        other = start(daemon, "hello-world", {"input": {"name": "Grace"}, "run_id": "hello-1"})
        by_command = shipped.sagad("workflow", "run", "hello-world", '{"name": "Ada"}', "--run-id", "hello-1")

        finished = daemon.logged("run_finished", run_id="hello-1")

    assert first.json() == second.json()
    assert first.json()["result"] == {"message": "hello, Ada"}
    assert other.status_code == httpx.codes.CONFLICT
    assert json.loads(by_command.stdout) == {"message": "hello, Ada"}
    assert len(finished) == 1


def test_a_job_every_second_runs_the_workflow(shipped: Application) -> None:
    shipped.configure({"jobs.run-once-a-day.every_s": 1})

    with shipped.daemon() as daemon:
        daemon.wait_for("job_finished", job="run-once-a-day", outcome="ok", count=2)
        greeted = daemon.logged("greeted", job="run-once-a-day")
        runs = shipped.sagad_json("runs", "list", "--trigger", "job:run-once-a-day")["items"]

    assert [each["message"] for each in greeted[:2]] == ["hello, night"] * 2
    assert len({run["run_id"] for run in runs}) == len(runs) >= 2
    for run in runs[-2:]:
        assert (run["workflow"], run["status"], run["result"]) == (
            "hello-world",
            "completed",
            {"message": "hello, night"},
        )


class Cms(ThreadingHTTPServer):
    """Somebody else's server; answers with `status`, and runs `meanwhile` before it does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 204
        self.got: list[tuple[str, dict[str, Any], str]] = []
        self.meanwhile: Any = lambda: None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Cms

    def do_PUT(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.got.append((self.path, body, self.headers["idempotency-key"]))
        self.server.meanwhile()
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as http.server calls it
        """Say nothing."""


@pytest.fixture
def cms() -> Iterator[Cms]:
    with Cms() as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield server
        server.shutdown()
        serving.join()


def product(application: Application) -> tuple[str, int]:
    database = sqlite3.connect(application.folder / "var" / "products.db")
    try:
        title, price_cents = database.execute("SELECT title, price_cents FROM product WHERE id = 'mug'").fetchone()
    finally:
        database.close()
    return title, price_cents


def rename(application: Application, title: str) -> None:
    database = sqlite3.connect(application.folder / "var" / "products.db")
    with database:
        database.execute("UPDATE product SET title = ? WHERE id = 'mug'", (title,))
    database.close()


def test_a_product_that_the_cms_takes_is_changed_in_both_places(shipped: Application, cms: Cms) -> None:
    shipped.configure({"options.update-product.cms_url": cms.url})

    with shipped.daemon() as daemon:
        answer = start(daemon, "update-product", {"input": {"id": "mug", "changes": {"price_cents": 1100}}})

    run = answer.json()
    assert (answer.status_code, run["status"]) == (200, "completed")
    assert run["result"] == {"id": "mug", "title": "Mug", "price_cents": 1100}
    assert [(path, body) for path, body, _ in cms.got] == [("/products/mug", run["result"])]
    assert product(shipped) == ("Mug", 1100)


def test_a_product_that_the_cms_refuses_gets_only_its_changed_fields_back(shipped: Application, cms: Cms) -> None:
    shipped.configure({"options.update-product.cms_url": cms.url})
    cms.status = 422
    during: list[tuple[str, int]] = []

    def meanwhile() -> None:
        during.append(product(shipped))
        rename(shipped, "Mug, by somebody else")

    cms.meanwhile = meanwhile

    with shipped.daemon() as daemon:
        answer = start(daemon, "update-product", {"input": {"id": "mug", "changes": {"price_cents": 1100}}})
        restored = daemon.wait_for("product_restored")

    run = answer.json()
    assert (answer.status_code, run["status"]) == (200, "reverted")
    assert run["compensated"] == ["change-product"]
    assert run["errors"][0]["attempts"][-1]["message"] == "the CMS refused 'mug' with status 422"
    assert restored["fields"] == ["price_cents"]
    assert during == [("Mug", 1100)]
    assert product(shipped) == ("Mug, by somebody else", 900)


def test_a_cms_that_fails_is_asked_again_with_the_same_key(shipped: Application, cms: Cms) -> None:
    shipped.configure({"options.update-product.cms_url": cms.url})
    cms.status = 503

    def recover() -> None:
        cms.status = 503 if len(cms.got) < 2 else 204

    cms.meanwhile = recover

    with shipped.daemon() as daemon:
        answer = start(daemon, "update-product", {"input": {"id": "mug", "changes": {"title": "Cup"}}})

    assert answer.json()["status"] == "completed"
    assert len(cms.got) == 2
    assert len({key for _, _, key in cms.got}) == 1
    assert product(shipped) == ("Cup", 900)
