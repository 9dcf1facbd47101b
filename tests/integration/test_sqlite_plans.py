"""How the store on SQLite finds what it is asked for: by an index, and never by walking over everything."""

import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from daemon.store.job_model import Deployed, FiringClaim, JobAction, JobDeclaration, JobOrder
from daemon.store.model import QUEUED, RunStatus, StepState
from daemon.store.sqlite import SqliteStore
from daemon.store.writes import (
    DropOutgoing,
    FenceRun,
    ForgetReceipt,
    InsertRun,
    PutReceipt,
    PutStep,
    RequireAwaiting,
    RequireNoSignal,
    StageEvent,
    TakePlace,
    UpdateChild,
    UpdateRun,
)
from tests.contract.records import APP, ME, came, child, fire, firing, handled, outgoing, receipt, run, started, step

LATE_US = 2_000_000_000_000_000
# Steps that wait for a signal are the only rows of this index.
ALL_THAT_WAIT = "SCAN steps USING COVERING INDEX steps_awaiting"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "sagad.db")
    await opened.open()
    yield opened
    await opened.aclose()


async def ask_everything(store: SqliteStore) -> None:
    await store.commit(
        InsertRun(run("1", status=RunStatus.WAITING, waiting_for=QUEUED)),
        TakePlace("key-1", APP, "place-order", 1),
        InsertRun(child("2", of="1")),
        UpdateChild(child("2", of="1")),
        PutStep(step("2", "paid", state=StepState.WAITING, awaits="paid:1")),
    )
    await store.commit(
        FenceRun("key-1", ME),
        RequireAwaiting("key-2", "paid", "paid:1"),
        RequireNoSignal(APP, "paid:1", 0),
        came("a", "place-order", "ship-order"),
    )
    await store.commit(PutReceipt(receipt("e1")), ForgetReceipt(APP, "greet", "crm", "customer.created", "e2"))
    await store.commit(StageEvent(outgoing("e1")), StageEvent(outgoing("e2", owner=ME)))
    await store.claim_outgoing(APP, ME, limit=10)
    await store.outgoing(APP, limit=10, owner=ME)
    await store.commit(DropOutgoing(("e1",)))
    await store.claim_receipt(APP, "greet", "mark-1", ME)
    await store.receipt(APP, "greet", "crm", "customer.created", "e1")
    await store.commit(UpdateRun(run("1")), handled("e1"), started("3", owner=""))
    await fire(store, firing(1), firing(2))
    _, last = await store.signalled(APP, ME)
    await store.signalled(APP, ME, after=last - 1 or last)
    await store.commit(came("b"))
    await store.signalled(APP, ME, after=last)
    await store.signal(APP, "paid:1", 0)
    await store.children(["key-1", "key-3"])
    await store.steps(["key-1", "key-2"])
    await store.oldest_run_us(APP, ["place-order"])
    await store.claim_runs(APP, ME, ["place-order"], limit=10)
    await store.cancellations(APP, ME)
    await store.prune_runs(APP, before_us=LATE_US, workflow=None, limit=10)
    await store.prune_runs(APP, before_us=LATE_US, workflow="place-order", limit=10)
    await store.prune_handled(APP, before_us=LATE_US, limit=10)
    await store.declare_jobs(Deployed(APP, ME, "first", 1, [JobDeclaration("nightly", "f")], ["hourly"]))
    await store.claim_due(APP, [FiringClaim(firing(5), "f", "queue"), FiringClaim(firing(6), "f")], now_us=7)
    await store.begin_firing(firing(5), overlap="queue", now_us=7)
    await store.trigger_firing(firing(9), overlap="allow")
    await store.claim_firings(APP, ME, ["nightly"], limit=5)
    await store.order_job(JobOrder(APP, "nightly", JobAction.PAUSE, "ada", "", 9))
    await store.job_orders(APP, "nightly", limit=5)
    await store.jobs(APP)
    await store.jobs(APP, ["nightly"])
    await store.last_firings(APP, ["nightly"])
    await store.prune_firings(APP, before_us=LATE_US, limit=10)
    await store.prune_signals(APP, topic_prefix="paid:", before_us=LATE_US, limit=10)


@pytest.fixture
async def plans(store: SqliteStore, tmp_path: Path) -> dict[str, list[str]]:
    """The plans of all statements that were run, by statement."""
    asked: list[str] = []
    for connection in (store._reading, store._writer._connection):
        connection.set_trace_callback(asked.append)
    await ask_everything(store)
    with closing(sqlite3.connect(tmp_path / "sagad.db")) as database:
        return {
            query: [str(row[-1]) for row in database.execute(f"EXPLAIN QUERY PLAN {query}")]
            for query in asked
            if re.match(r"\s*(WITH|SELECT|INSERT|UPDATE|DELETE)", query)
        }


async def test_nothing_that_is_asked_while_runs_go_on_walks_over_all_of_a_table(plans: dict[str, list[str]]) -> None:
    tables = "runs|its|root|old|steps|signals|handled|receipts|firings|later|outbox|earlier|jobs|job_orders"
    walk = re.compile(rf"SCAN ({tables})\b")

    walks = {query: part for query, plan in plans.items() for part in plan if walk.match(part)}

    assert set(walks.values()) == {ALL_THAT_WAIT}
    assert len(plans) > 30


@pytest.mark.parametrize(
    "part",
    [
        "SEARCH signals USING INTEGER PRIMARY KEY (rowid>?)",
        "SEARCH signals USING INDEX signals_by_time (app=? AND topic=? AND at_us>?)",
        "SEARCH steps USING COVERING INDEX steps_awaiting (awaits=?)",
        "SEARCH runs USING INDEX runs_unended (app=? AND owner=? AND workflow=? AND <expr>=?)",
        "SEARCH old USING COVERING INDEX runs_by_workflow (workflow=? AND app=? AND key<?)",
        "SEARCH runs USING INDEX runs_by_root (root_key=?)",
        "SEARCH handled USING COVERING INDEX handled_by_time (app=? AND handled_us<?)",
        "SEARCH receipts USING COVERING INDEX receipts_by_time (app=? AND first_seen_us<?)",
        "SEARCH receipts USING INDEX receipts_by_mark (app=? AND subscriber=? AND mark=?)",
        "SEARCH outbox USING INDEX outbox_by_owner (app=? AND owner=? AND position>?)",
        "SEARCH outbox USING COVERING INDEX outbox_by_owner (app=? AND owner=?)",
        "SEARCH earlier USING COVERING INDEX outbox_by_origin (origin=? AND app=? AND seq<?)",
        "SEARCH firings USING PRIMARY KEY (app=? AND job=? AND scheduled_us<?)",
        "SEARCH firings USING PRIMARY KEY (app=? AND job=? AND scheduled_us=?)",
        "SEARCH jobs USING PRIMARY KEY (app=? AND job=?)",
        "SEARCH job_orders USING INDEX job_orders_by_job (app=? AND job=? AND position<?)",
    ],
)
async def test_what_is_asked_for_is_found_by_its_index(plans: dict[str, list[str]], part: str) -> None:
    assert part in {each for plan in plans.values() for each in plan}
