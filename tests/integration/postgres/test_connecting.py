"""Opening a store on PostgreSQL, whatever is there, and leaving it."""

import asyncio
import gc

import asyncpg
import pytest

from daemon.errors import StoreUnavailableError, StoreVersionError
from daemon.store.postgres import PostgresStore
from daemon.store.postgres_link import Address
from daemon.store.postgres_schema import check_server
from daemon.store.schema import migrations
from daemon.store.writes import Outcome
from tests.contract.records import APP, started


async def test_a_read_that_is_cancelled_leaves_nothing_behind(postgres_url: str, schema: str) -> None:
    troubles: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: troubles.append(context))

    for turns in range(12):  # of the loop, in which a connection is being made, or the statement is under way
        store = PostgresStore(postgres_url, app=APP, schema=schema)
        await store.open()
        reading = asyncio.create_task(store.run(APP, "run-1"))
        for _ in range(turns):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
        await store.aclose()
        gc.collect()

    assert troubles == []


async def test_a_connection_that_nobody_waits_for_any_more_leaves_nothing_behind(
    postgres_url: str, schema: str
) -> None:
    troubles: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: troubles.append(context))
    address = Address(postgres_url, schema)

    for turns in range(12):
        connecting = asyncio.create_task(address.connect())
        for _ in range(turns):
            await asyncio.sleep(0)
        connecting.cancel()
        await asyncio.wait([connecting])
        assert connecting.cancelled()
        if address._connecting:
            await asyncio.wait(address._connecting)
        await asyncio.sleep(0)
        gc.collect()

    assert troubles == []


async def test_a_newer_database_is_refused(postgres_url: str, store: PostgresStore, schema: str) -> None:
    link = await asyncpg.connect(postgres_url, server_settings={"search_path": schema})
    await link.execute("INSERT INTO schema_version VALUES (99)")
    await link.close()

    with pytest.raises(StoreVersionError, match=f"knows none after {len(migrations('postgres'))}"):
        await PostgresStore(postgres_url, app=APP, schema=schema).open()


async def test_stores_that_open_together_make_one_schema(postgres_url: str, schema: str) -> None:
    stores = [PostgresStore(postgres_url, app=APP, schema=schema) for _ in range(4)]
    async with asyncio.TaskGroup() as group:
        for each in stores:
            group.create_task(each.open())

    outcomes = [await each.commit(started(f"{at}")) for at, each in enumerate(stores)]
    for each in stores:
        await each.aclose()

    assert set(outcomes) == {Outcome.APPLIED}


@pytest.mark.parametrize(
    "url", ["postgresql://sagad:hush@127.0.0.1:1/x", "postgresql://sagad:hu/sh@127.0.0.1:1/x"], ids=["away", "garbled"]
)
async def test_a_database_that_is_away_is_said_to_be_without_its_password(url: str) -> None:
    store = PostgresStore(url, app=APP)

    with pytest.raises(StoreUnavailableError) as caught:
        await store.open()

    assert "hush" not in str(caught.value)
    assert "hu/sh" not in str(caught.value)
    with pytest.raises(StoreUnavailableError):
        await store.commit(started("1"))


def test_a_server_that_is_too_old_is_refused_in_a_sentence() -> None:
    check_server(13)
    with pytest.raises(StoreVersionError, match="The database's server is PostgreSQL 12; sagad needs 13 or later"):
        check_server(12)
