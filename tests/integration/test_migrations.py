"""A database that an older sagad has used is brought up to date with all that is in it, and everything goes on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from daemon.store.model import RunStatus, StepState
from daemon.store.port import RunFilter, Store
from daemon.store.schema import migrations
from daemon.store.writes import (
    DropOutgoing,
    FenceRun,
    Outcome,
    PutGraph,
    PutStep,
    RequireAwaiting,
    SettleDelivery,
    StageEvent,
    UpdateRun,
)
from tests.contract import records
from tests.contract.records import APP, GONE, ME, OTHER
from tests.integration.databases import Column, Database, PostgresSchema, SqliteFile
from tests.services import own_schema

LEASE_S = 60.0
LATE_US = 10_000
# What is stored, by table; what a version does not know of it is left out. Whoever stored it is gone.
STORED: dict[str, list[Any]] = {
    "runs": [
        records.run("1", owner=GONE),
        records.run("2", owner=GONE, status=RunStatus.WAITING, waiting_for="an event"),
        records.child("3", of="2"),
        records.run("4", owner=GONE, status=RunStatus.COMPLETED, ended_us=2_000, result=b'"done"'),
        records.run("5", owner=GONE, status=RunStatus.FAILED, ended_us=2_000),
    ],
    "steps": [
        records.step("1", "reserve", output=b"1"),
        records.step("3", "paid", state=StepState.WAITING, awaits="paid:2"),
        records.step("4", "reserve"),
    ],
    "signals": [records.signal("early", topic="paid:1")],
    "graphs": [PutGraph("abc", "place-order", b"{}")],
    "outbox": [
        records.outgoing("e1", origin="key-1", seq=1),
        records.outgoing("e2", origin="key-1", seq=2),
        records.outgoing("e3", origin="key-4", seq=1),
    ],
    "handled": [records.handled("handled")],
    "deliveries": [
        records.delivery("free"),
        records.delivery("taken", owner=GONE, deliveries=1),
        records.delivery("dead", reason="rejected", error="no", dead_us=2_000),
    ],
    "firings": [records.firing(1_000, owner=GONE)],
    "receipts": [records.receipt("received", owner=GONE)],
}
GIVEN_BY_STORE = {"outbox": "position", "signals": "position", "deliveries": "seq", "job_orders": "position"}
BY_TYPE = {"text": "x", "integer": 1, "bigint": 1, "blob": b"[]", "bytea": b"[]"}

Rows = dict[str, list[tuple[Any, ...]]]


@pytest.fixture
async def database(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    if kind == "sqlite":
        yield SqliteFile(tmp_path / "sagad.db")
        return
    url = request.getfixturevalue("postgres_url")
    async with own_schema(url) as schema:
        link = await asyncpg.connect(url, server_settings={"search_path": schema})
        await link.execute(f"CREATE SCHEMA {schema}")
        yield PostgresSchema(url, schema, link)
        await link.close()


def versions() -> list[Any]:
    """Return every engine with every version that it had before this one."""
    kinds = ("sqlite", "postgres")
    return [pytest.param(kind, at, id=f"{kind}-{at}") for kind in kinds for at in range(1, len(migrations(kind)))]


async def build(database: Database, kind: str, version: int) -> Rows:
    """Make a database as it was at a version, with rows in each of its tables; return these."""
    for number, script in enumerate(migrations(kind)[:version], start=1):
        await database.run(script)
        await database.reach(number)
    stored: Rows = {}
    for table, columns in (await database.columns()).items():
        names = await given(database, table)
        known = [asdict(record) for record in STORED.get(table, [])]
        some = {each.name: anything(each) for each in columns}
        rows = [tuple(each[name] for name in names) for each in known or [some]]
        await database.insert(table, names, rows)
        stored[table] = await database.rows(table, names)
    return stored


async def given(database: Database, table: str) -> list[str]:
    """Return the columns of a table, but for what the store gives."""
    columns = (await database.columns())[table]
    return [each.name for each in columns if each.name != GIVEN_BY_STORE.get(table)]


def anything(column: Column) -> Any:
    """Return a value of a column's type."""
    return datetime.fromtimestamp(0, UTC) if column.type.startswith("timestamp") else BY_TYPE[column.type]


@asynccontextmanager
async def opened(database: Database) -> AsyncIterator[Store]:
    store = database.store()
    await store.open()
    try:
        for owner in (ME, OTHER):
            await store.register(APP, owner, lease_s=LEASE_S)
        yield store
    finally:
        await store.aclose()


every_version = pytest.mark.parametrize(("kind", "version"), versions())


@every_version
async def test_nothing_that_was_stored_is_lost_or_changed(database: Database, kind: str, version: int) -> None:
    stored = await build(database, kind, version)
    names = {table: await given(database, table) for table in stored}

    store = database.store()
    await store.open()
    await store.aclose()

    assert set(stored) >= {"runs", "steps", "deliveries", "outbox", "handled", "firings", "signals", "processes"}
    assert {table: await database.rows(table, names[table]) for table in stored} == stored


@every_version
async def test_runs_go_on_where_they_stood(database: Database, kind: str, version: int) -> None:
    await build(database, kind, version)

    async with opened(database) as store:
        claimed = await store.claim_runs(APP, ME, ["place-order"], limit=10)
        one, two = claimed
        steps = await store.steps(["key-1", "key-3", "key-4"])
        (child,) = (await store.children(["key-2"]))["key-2"]
        outcomes = [
            await store.commit(UpdateRun(replace(one, status=RunStatus.COMPLETED, ended_us=LATE_US))),
            await store.commit(FenceRun(two.key, ME, two.epoch), RequireAwaiting(child.key, "paid", "paid:2")),
            await store.commit(PutStep(records.step("2", "ship"))),
            await store.commit(records.came("new", topic="paid:2")),
        ]
        signalled, _ = await store.signalled(APP, ME)
        early = await store.signal(APP, "paid:1", 0)
        first = await store.run(APP, "run-1")
        failed = await store.runs(APP, RunFilter(status=RunStatus.FAILED), after=None, limit=10)

    assert [(each.run_id, each.owner, each.epoch) for each in claimed] == [("run-1", ME, 1), ("run-2", ME, 1)]
    assert {key: [each.name for each in found] for key, found in steps.items()} == {
        "key-1": ["reserve"],
        "key-3": ["paid"],
        "key-4": ["reserve"],
    }
    assert outcomes == [Outcome.APPLIED] * 4
    assert [each.run_id for each in signalled] == ["run-2"]
    assert early == records.signal("early", topic="paid:1")
    assert first is not None
    assert first.status is RunStatus.COMPLETED
    assert [each.run_id for each in failed.records] == ["run-5"]


@every_version
async def test_queues_go_on_with_what_is_on_them(database: Database, kind: str, version: int) -> None:
    await build(database, kind, version)

    async with opened(database) as store:
        depths = await store.queue_depths(APP)
        taken = await store.take(APP, "greet", ME, limit=10, now_us=LATE_US)
        settled = [await store.commit(SettleDelivery(each.seq, ME)) for each in taken]
        (dead,) = await store.dead(APP, "greet", ids=None, limit=10)
        parked = await store.park(records.delivery("new"))
        again = await store.commit(records.handled("handled"))
        kept = await store.handled(APP, "greet", "crm", "customer.created", "handled")

    assert depths == {"greet": (1, 1, 1)}
    assert sorted((each.event_id, each.deliveries) for each in taken) == [("free", 1), ("taken", 2)]
    assert settled == [Outcome.APPLIED] * 2
    assert dead.event_id == "dead"
    assert parked > max(each.seq for each in (*taken, dead))
    assert again is Outcome.CONFLICT
    assert kept is not None


@every_version
async def test_what_was_staged_is_published_by_one_process_in_order(
    database: Database, kind: str, version: int
) -> None:
    await build(database, kind, version)

    async with opened(database) as store:
        claimed = [await store.claim_outgoing(APP, owner, limit=10) for owner in (ME, OTHER)]
        await store.commit(StageEvent(records.outgoing("e4", origin="key-1", seq=3, owner=ME)))
        staged = await store.outgoing(APP, limit=10, owner=ME)
        await store.commit(DropOutgoing(tuple(each.id for each in staged[:3])))
        left = await store.outgoing(APP, limit=10)

    assert claimed == [3, 0]
    assert [each.id for each in staged] == ["e1", "e2", "e3", "e4"]
    assert [each.id for each in left] == ["e4"]


@every_version
async def test_a_version_is_reached_once_and_by_all_who_come_at_the_same_time(
    database: Database, kind: str, version: int
) -> None:
    await build(database, kind, version)

    stores = [database.store() for _ in range(3)]
    async with asyncio.TaskGroup() as group:
        for store in stores:
            group.create_task(store.open())

    found = [await store.run(APP, "run-1") for store in stores]
    for store in stores:
        await store.aclose()
    assert found == [records.run("1", owner=GONE)] * 3
