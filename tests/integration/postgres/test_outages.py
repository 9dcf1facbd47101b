"""A PostgreSQL that is away, or killed, and comes back."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack

import asyncpg
import pytest

from daemon.errors import StoreUnavailableError
from daemon.store.postgres import PostgresStore
from daemon.store.writes import Outcome, PutStep, UpdateRun
from tests.contract.engine.processes import until
from tests.contract.records import APP, run, started, step
from tests.integration.proxy import Proxy
from tests.services import PostgresContainer, PostgresServer, private_postgres


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer | PostgresContainer]:
    """A server that a test may stop and kill."""
    with private_postgres() as started_server:
        yield started_server


async def test_what_was_submitted_while_the_connection_was_lost_keeps_its_order(
    far: PostgresStore, store: PostgresStore, proxy: Proxy
) -> None:
    await far.commit(started("1"))
    proxy.refuse()
    commits = [far.commit(UpdateRun(run("1", updated_us=at))) for at in range(200)]
    with pytest.raises(StoreUnavailableError):
        await far.run(APP, "run-1")
    trouble = far.trouble
    proxy.accept()
    outcomes = [await each for each in commits]
    stored = await store.run(APP, "run-1")

    assert "cannot be reached" in trouble
    assert set(outcomes) == {Outcome.APPLIED}
    assert stored is not None
    assert stored.updated_us == 199
    assert far.trouble == ""


async def test_a_lost_connection_is_trouble_even_if_nothing_is_to_be_written(far: PostgresStore, proxy: Proxy) -> None:
    before = far.trouble
    proxy.refuse()
    await until(lambda: far.trouble)
    during = far.trouble
    proxy.accept()
    await until(lambda: not far.trouble)

    assert before == ""
    assert "cannot be reached" in during


async def test_a_store_that_is_closed_while_the_database_is_away_fails_what_waits(
    far: PostgresStore, proxy: Proxy
) -> None:
    proxy.refuse()
    commit = far.commit(started("1"))

    await far.aclose()

    with pytest.raises(StoreUnavailableError, match="Nothing that was confirmed is lost"):
        await commit


async def test_a_server_that_is_killed_and_comes_back_has_all_that_was_confirmed(
    server: PostgresServer | PostgresContainer,
) -> None:
    store = PostgresStore(server.url, app=APP)
    await store.open()
    commits = [store.commit(started(f"{at:03}"), PutStep(step(f"{at:03}", "pay"))) for at in range(300)]
    await commits[0]
    server.kill()
    late = store.commit(started("late"))
    await asyncio.to_thread(server.start)
    outcomes = [await each for each in (*commits[1:], late)]
    listed = await store.steps([f"key-{at:03}" for at in range(300)])
    await store.aclose()

    assert set(outcomes) == {Outcome.APPLIED}
    assert {key: len(steps) for key, steps in listed.items()} == {f"key-{at:03}": 1 for at in range(300)}


async def test_a_commit_that_a_killed_server_has_lost_is_made_anew(server: PostgresServer | PostgresContainer) -> None:
    async with Proxy(server.url) as proxy, AsyncExitStack() as stack:
        store = PostgresStore(proxy.url, app=APP)
        await store.open()
        stack.push_async_callback(store.aclose)
        await store.commit(started("kept"))

        proxy.cut_at(b"key-lost", before=True)
        commit = store.commit(started("lost"), PutStep(step("lost", "pay")))
        await until(lambda: proxy.cuts)
        proxy.refuse()
        server.kill()
        await asyncio.to_thread(server.start)
        # Others are given the numbers of transactions that are gone without a trace.
        connection = await asyncpg.connect(server.url)
        for _ in range(10):
            await connection.execute("SELECT pg_current_xact_id()")
        await connection.close()
        proxy.accept()

        assert await commit is Outcome.APPLIED
        assert len((await store.steps(["key-lost"]))["key-lost"]) == 1
