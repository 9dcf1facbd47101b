"""How PostgreSQL finds what a process has to relay: along the index of its own, however much others have staged."""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import fields
from operator import attrgetter
from typing import Any

import asyncpg
import pytest

from daemon.store.model import OutgoingEvent
from daemon.store.postgres import PostgresStore
from daemon.store.postgres_queries import OWN_OUTGOING
from daemon.store.postgres_takeover import CLAIM_OUTGOING, EVENT_OWNERS
from tests.contract.records import APP, ME, OTHER, outgoing
from tests.integration.test_list_plans import SETTINGS, nodes

EVENTS = 20_000
PAGE = 50
FEW = 3


@pytest.fixture
async def link(postgres_url: str, schema: str) -> AsyncIterator[asyncpg.Connection]:
    store = PostgresStore(postgres_url, app=APP, schema=schema)
    await store.open()
    opened = await asyncpg.connect(postgres_url, server_settings={**SETTINGS, "search_path": schema})
    yield opened
    await opened.close()
    await store.aclose()


async def fill(link: asyncpg.Connection) -> None:
    """Stage a few events of ours among very many of others."""
    names = [each.name for each in fields(OutgoingEvent) if each.name != "position"]
    owners = ["", "a", OTHER, "z"]
    staged = [
        outgoing(f"e{n}", origin=f"run-{n // 10}", seq=n, owner=ME if n % (EVENTS // FEW) == 9 else owners[n % 4])
        for n in range(EVENTS)
    ]
    await link.copy_records_to_table("outbox", records=map(attrgetter(*names), staged), columns=names)


async def explained(link: asyncpg.Connection, query: str, *values: object) -> Iterator[dict[str, Any]]:
    async with link.transaction():
        plan = await link.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", *values)
        return nodes(json.loads(plan)[0]["Plan"])


@pytest.mark.parametrize("is_known", [False, True])
async def test_a_process_reads_no_event_but_its_own_and_looks_for_earlier_ones_by_their_origin(
    link: asyncpg.Connection,
    is_known: bool,  # noqa: FBT001
) -> None:
    await fill(link)
    if is_known:
        await link.execute("ANALYZE outbox")

    parts = list(await explained(link, OWN_OUTGOING, APP, ME, 0, PAGE))

    found = {part["Index Name"]: part for part in parts if "Index Name" in part}
    own, earlier = found["outbox_by_owner"], found["outbox_by_origin"]
    assert len(found) == 2
    assert own["Actual Rows"] + own.get("Rows Removed by Filter", 0) == FEW
    assert (earlier["Actual Loops"], earlier.get("Rows Removed by Filter", 0)) == (FEW, 0)
    assert {part["Node Type"] for part in parts}.isdisjoint({"Seq Scan", "Bitmap Heap Scan", "Sort"})


@pytest.mark.parametrize("is_known", [False, True])
async def test_what_the_dead_left_is_taken_over_along_the_index_a_batch_at_a_time(
    link: asyncpg.Connection,
    is_known: bool,  # noqa: FBT001
) -> None:
    await fill(link)
    if is_known:
        await link.execute("ANALYZE outbox")

    owners = list(await explained(link, EVENT_OWNERS, APP))
    claim = list(await explained(link, CLAIM_OUTGOING, APP, ME, OTHER, PAGE))

    walks = [part for part in (*owners, *claim) if "Index Name" in part]
    assert {part["Index Name"] for part in walks} <= {"outbox_by_owner", "outbox_pkey"}
    assert all(part["Actual Rows"] <= PAGE and not part.get("Rows Removed by Filter") for part in walks)
    assert {part["Node Type"] for part in (*owners, *claim)}.isdisjoint({"Seq Scan", "Bitmap Heap Scan", "Sort"})
