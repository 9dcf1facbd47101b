"""How a page of runs is found among many: along the index that its filter has, and never by walking over a table."""

import json
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import astuple
from math import inf
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from daemon.clock import new_id
from daemon.store import sqlite_lists, walks
from daemon.store.listing import matches
from daemon.store.model import RunRecord, RunStatus
from daemon.store.port import FoundRuns, RunFilter, Store
from daemon.store.postgres import PostgresStore
from daemon.store.postgres_link import fetch
from daemon.store.postgres_lists import Lists, numbered
from daemon.store.sql import columns
from daemon.store.sqlite import SqliteStore
from tests.contract.records import APP, run

RUNS = 10_000
DAY_US = 86_400_000_000
MIDDLE_US = RUNS // 2 * DAY_US
# As the store says to each of its connections.
SETTINGS = {"enable_seqscan": "off", "enable_bitmapscan": "off", "jit": "off"}
WHOLE_S = 2.0

CASES = [
    (RunFilter(), {""}),
    (RunFilter(workflow="ship-order"), {"runs_by_workflow"}),
    (RunFilter(workflow="no-such-workflow"), {"runs_by_workflow"}),
    (RunFilter(status=RunStatus.COMPLETED), {""}),
    (RunFilter(status=RunStatus.FAILED), {"runs_by_status"}),
    (RunFilter(status=RunStatus.WAITING), {"runs_by_status"}),
    (RunFilter(status=RunStatus.FAILED, workflow="ship-order"), {"runs_by_bad_end"}),
    (RunFilter(status=RunStatus.COMPLETED, workflow="ship-order"), {"runs_by_workflow"}),
    (RunFilter(status=RunStatus.RUNNING, workflow="ship-order"), {"runs_by_status", "runs_by_workflow"}),
    (RunFilter(trigger="event"), {"runs_by_trigger"}),
    (RunFilter(trigger="event:ship"), {"runs_by_trigger"}),
    (RunFilter(trigger="no-such-kind"), {"runs_by_trigger"}),
    (RunFilter(trigger="job", workflow="ship-order"), {"runs_by_workflow", "runs_by_trigger"}),
    (RunFilter(trigger="event", status=RunStatus.FAILED), {"runs_by_status", "runs_by_trigger"}),
    (RunFilter(since_us=MIDDLE_US), {""}),
    (RunFilter(since_us=MIDDLE_US, workflow="ship-order"), {"runs_by_workflow"}),
    (RunFilter(text="no such words"), {"", "runs_by_id"}),
    (RunFilter(text="no such words", status=RunStatus.FAILED), {"runs_by_status", "runs_by_id"}),
    (
        RunFilter("ship-order", RunStatus.REVERTED, "event:ship", MIDDLE_US, "order"),
        {"runs_by_bad_end", "runs_by_trigger", "runs_by_id"},
    ),
]


def ended_runs() -> Iterator[RunRecord]:
    """Runs of a day each; what is rare among them is among the oldest."""
    for number in range(RUNS):
        kind, name = (
            ("job", "audit") if number < 5 else (("event", "ship"), ("event", "enter"), ("request", ""))[number % 3]
        )
        yield run(
            f"{number}",
            key=new_id(number * DAY_US),
            created_us=number * DAY_US,
            ended_us=number * DAY_US,
            workflow="place-order" if number % 10 else "ship-order",
            status=(RunStatus.FAILED, RunStatus.REVERTED)[number % 2] if number % 20 < 2 else RunStatus.COMPLETED,
            trigger=json.dumps({"kind": kind, "name": name, "id": "1"}).encode(),
        )


@pytest.fixture
async def sqlite_store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "sagad.db")
    await opened.open()
    names = columns(RunRecord)
    with closing(sqlite3.connect(tmp_path / "sagad.db")) as connection, connection:
        insert = f"INSERT INTO runs ({', '.join(names)}) VALUES ({', '.join('?' for _ in names)})"
        connection.executemany(insert, map(astuple, ended_runs()))
    yield opened
    await opened.aclose()


@pytest.fixture
async def postgres_store(postgres_url: str, schema: str) -> AsyncIterator[PostgresStore]:
    opened = PostgresStore(postgres_url, app=APP, schema=schema)
    await opened.open()
    link = await asyncpg.connect(postgres_url)
    await link.copy_records_to_table(
        "runs", records=map(astuple, ended_runs()), columns=list(columns(RunRecord)), schema_name=schema
    )
    await link.close()
    yield opened
    await opened.aclose()


async def slowest_s(store: Store) -> float:
    """Return how long the slowest page takes that is looked for to its end."""
    took = []
    for wanted, _ in CASES:
        for after in (None, new_id(MIDDLE_US)):
            started_s = time.perf_counter()
            await store.runs(APP, wanted, after=after, limit=50, within_s=inf)
            took.append(time.perf_counter() - started_s)
    return max(took)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return all parts of PostgreSQL's plan."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def test_sqlite_walks_along_the_index_of_a_filter_and_sorts_nothing(sqlite_store: SqliteStore, tmp_path: Path) -> None:
    del sqlite_store
    with closing(sqlite3.connect(tmp_path / "sagad.db")) as connection:
        connection.create_function("contains", -1, lambda *_: False)
        for wanted, indexes in CASES:
            asking = walks.pages(sqlite_lists, APP, wanted, after=None, limit=50, is_over=lambda: True)
            rows: list[Any] | None = None
            while True:
                try:
                    query, values = asking.send(rows) if rows is not None else next(asking)
                except StopIteration:
                    break
                rows = connection.execute(query, values).fetchall()
                plan = [str(part[-1]) for part in connection.execute(f"EXPLAIN QUERY PLAN {query}", values)]
                found = [part for part in plan if " runs" in part]

                assert found, (wanted, plan)
                assert all(part.startswith("SEARCH runs USING") for part in found), (wanted, plan)
                assert all(index_of(part) in {*indexes, *of_probes(wanted)} for part in found), (wanted, plan)
                assert "UNION ALL" in query or not any("TEMP B-TREE" in part for part in plan), (wanted, plan)


def index_of(part: str) -> str:
    """Return the index of a part of SQLite's plan; nothing for the primary key."""
    return next((word for word in part.split() if word.startswith("runs_")), "")


def of_probes(wanted: RunFilter) -> set[str]:
    """Return what is looked into to choose a walk, and for those whose keys were found there."""
    probed = {"runs_by_trigger"} if wanted.trigger is not None else set()
    return probed | {"runs_by_workflow"} if wanted.workflow and wanted.trigger and not wanted.status else probed


async def test_postgres_walks_along_the_index_of_a_filter_and_sorts_nothing_whatever_it_knows_of_the_table(
    postgres_store: PostgresStore, postgres_url: str, schema: str
) -> None:
    del postgres_store
    link = await asyncpg.connect(postgres_url, server_settings={**SETTINGS, "search_path": schema})
    for at, (wanted, indexes) in enumerate([*CASES, *CASES]):
        if at == len(CASES):
            await link.execute("ANALYZE runs")
        asking = walks.pages(Lists("und-x-icu"), APP, wanted, after=None, limit=50, is_over=lambda: True)
        rows: list[Any] | None = None
        while True:
            try:
                query, values = asking.send(rows) if rows is not None else next(asking)
            except StopIteration:
                break
            rows = await link.fetch(numbered(query), *values)
            explained = json.loads(await link.fetchval(f"EXPLAIN (FORMAT JSON) {numbered(query)}", *values))
            parts = list(nodes(explained[0]["Plan"]))
            kinds = {part["Node Type"] for part in parts}
            found = {
                part.get("Index Name", "").replace("runs_pkey", "") for part in parts if "Index" in part["Node Type"]
            }

            assert found <= {*indexes, *of_probes(wanted)}, (wanted, query, parts)
            assert kinds.isdisjoint({"Seq Scan", "Bitmap Heap Scan", "Materialize"}), (wanted, query, parts)
            assert "UNION ALL" in query or kinds.isdisjoint({"Sort", "Incremental Sort"}), (wanted, query, parts)
    await link.close()


@pytest.mark.parametrize(
    ("wanted", "limit"),
    [
        (RunFilter(text="run-98"), 150),
        (RunFilter(workflow="place-order", trigger="event:ship", text="run-8"), 450),
    ],
    ids=str,
)
async def test_no_run_is_pushed_out_of_a_page_by_those_that_are_started_while_it_is_looked_for(
    postgres_store: PostgresStore, postgres_url: str, schema: str, wanted: RunFilter, limit: int
) -> None:
    del postgres_store
    link = await asyncpg.connect(postgres_url, server_settings={**SETTINGS, "search_path": schema})
    names = columns(RunRecord)
    insert = numbered(f"INSERT INTO runs ({', '.join(names)}) VALUES ({', '.join('?' for _ in names)})")
    asking = walks.pages(Lists("und-x-icu"), APP, wanted, after=None, limit=limit, is_over=lambda: False)

    query, values = next(asking)
    found: FoundRuns | None = None
    number = RUNS
    while found is None:
        new = run(f"{number}", key=new_id(number * DAY_US), trigger=b'{"kind":"event","name":"ship"}')
        await link.execute(insert, *astuple(new))
        number += 1
        try:
            query, values = asking.send(await fetch(link, numbered(query), *values))
        except StopIteration as done:
            found = done.value
    await link.close()

    assert {each.run_id for each in found.records} == {each.run_id for each in ended_runs() if matches(each, wanted)}


async def test_no_page_of_a_store_with_many_runs_takes_long_even_if_it_is_looked_for_to_its_end(
    sqlite_store: SqliteStore, postgres_store: PostgresStore
) -> None:
    slowest = [await slowest_s(sqlite_store), await slowest_s(postgres_store)]

    assert max(slowest) < WHOLE_S
