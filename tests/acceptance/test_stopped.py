"""A daemon that is stopped for longer than its lease, and goes on while another one has what it was at."""

import signal
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.acceptance.application import Application
from tests.acceptance.process import until
from tests.soak.fleet import Fleet

if TYPE_CHECKING:
    from tests.acceptance.broker import Broker

COUNT_STOCK = """
import asyncio
from pathlib import Path

from daemon import Event, Ref, StepContext, SubscriberContext, step, subscriber, workflow


class StockMoved(Event, name="stock.moved"):
    id: str


class StockCounted(Event, name="stock.counted"):
    id: str


async def wait_for(gate: str) -> None:
    while not Path(gate).exists():
        await asyncio.sleep(0.01)


@step("count")
async def count(what: str, ctx: StepContext) -> str:
    ctx.log.info("count_begun", what=what, key=ctx.idempotency_key)
    await wait_for(ctx.options["counted"])
    return what


@step("note")
async def note(what: str, ctx: StepContext) -> str:
    ctx.log.info("note_begun", what=what)
    return what


@workflow("count-stock")
def count_stock(what: Ref[str]) -> Ref[str]:
    return note(count(what))


@subscriber(StockMoved, id="count-stock-of")
async def count_stock_of(event: StockMoved, ctx: SubscriberContext) -> None:
    ctx.log.info("handler_begun")
    await wait_for(ctx.options["moved"])
    await count_stock(ctx.container).run(event.id)
    ctx.emit(StockCounted(id=event.id))


@subscriber(StockCounted, id="hear-of-count")
async def hear_of_count(event: StockCounted) -> None:
    pass
"""


@pytest.mark.parametrize(("bus", "outcomes"), [("embedded", {"ok", "taken_over"}), ("rabbitmq", {"ok", "duplicate"})])
def test_a_handler_whose_event_another_daemon_has_meanwhile_repeats_no_step_and_emits_nothing(
    laboratory: Application, postgres_database: str, request: pytest.FixtureRequest, bus: str, outcomes: set[str]
) -> None:
    broker: Broker | None = request.getfixturevalue("broker") if bus == "rabbitmq" else None
    moved, counted = laboratory.folder / "moved", laboratory.folder / "counted"
    laboratory.add("subscribers/count_stock.py", COUNT_STOCK)
    laboratory.configure(
        {
            "storage.url": postgres_database,
            "options.count-stock-of.moved": str(moved),
            "options.count-stock.counted": str(counted),
            **(broker.settings | {"broker.heartbeat_s": 1} if broker is not None else {}),
        }
    )
    fleet = Fleet(laboratory, 2)
    try:
        for number in fleet.numbers:
            fleet.start(number)
        with fleet.daemon(0).api() as api:
            accepted = api.post("/api/events", json={"name": "stock.moved", "data": {"id": "nail"}, "id": "e1"})
        until(lambda: any(fleet.daemon(each).logged("handler_begun") for each in fleet.numbers), "one of them begins")
        stopped, other = sorted(map(fleet.daemon, fleet.numbers), key=lambda each: not each.logged("handler_begun"))
        stopped.send(signal.SIGSTOP)
        other.wait_for("handler_begun", timeout_s=60)
        moved.touch()
        other.wait_for("count_begun")

        stopped.send(signal.SIGCONT)
        for _ in range(3):  # Runs start there again, so the handler's may, too.
            with stopped.api() as api:
                api.post("/api/workflows/hello-world/runs", json={"input": {"name": "Ada"}, "wait": True})
        counted.touch()
        other.wait_for("event_handled", event_id="e1")
        stopped.wait_for("event_handled", event_id="e1")
        until(lambda: any(each.get("subscriber") == "hear-of-count" for each in fleet.logged()), "it is heard of")
        for number in fleet.numbers:
            fleet.terminate(number)
        begun = [each for each in fleet.logged() if each["event"] in {"count_begun", "note_begun"}]
        handled = [
            each["outcome"]
            for each in fleet.logged()
            if each.get("subscriber") == "count-stock-of" and each["event"] == "event_handled"
        ]
        heard = [each for each in fleet.logged() if each.get("subscriber") == "hear-of-count"]
    finally:
        fleet.end()
        if broker is not None:
            broker.clean(["count-stock-of", "hear-of-count"])

    (run,) = laboratory.sagad_json("runs", "list", "--workflow", "count-stock")["items"]
    assert accepted.status_code == httpx.codes.ACCEPTED
    assert fleet.violations == []
    assert (run["status"], run["attempt"]) == ("completed", 1)
    assert set(handled) == outcomes
    assert [each["event"] for each in begun] == ["count_begun", "note_begun"]
    assert [each["outcome"] for each in heard] == ["ok"]
