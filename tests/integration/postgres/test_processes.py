"""Several processes on one PostgreSQL."""

import asyncio

import asyncpg

from daemon.store.model import RunStatus
from daemon.store.postgres import PostgresStore
from daemon.store.writes import InsertRun, Outcome, ReopenRun, RequireEnded
from tests.contract.records import APP, ME, OTHER, run, started

LEASE_S = 60.0


async def test_two_processes_never_both_hold_a_run(store: PostgresStore, postgres_url: str, schema: str) -> None:
    other = PostgresStore(postgres_url, app=APP, schema=schema)
    await other.open()
    for at in range(200):
        store.commit(started(f"{at:03}", owner=""))
    await store.commit(started("last", owner=""))
    await store.register(APP, ME, lease_s=LEASE_S)
    await other.register(APP, OTHER, lease_s=LEASE_S)

    async def claim(by: PostgresStore, owner: str) -> list[str]:
        found: list[str] = []
        while claimed := await by.claim_runs(APP, owner, ["place-order"], limit=7):
            found += [record.key for record in claimed]
        return found

    async with asyncio.TaskGroup() as group:
        mine, others = group.create_task(claim(store, ME)), group.create_task(claim(other, OTHER))
    await other.aclose()

    assert len({*mine.result(), *others.result()}) == len(mine.result()) + len(others.result()) == 201


async def test_a_commit_under_way_holds_a_takeover_back(store: PostgresStore, postgres_url: str, schema: str) -> None:
    await store.commit(started("1"))
    link = await asyncpg.connect(postgres_url, server_settings={"search_path": schema})
    async with link.transaction():
        await link.execute("SELECT 1 FROM runs WHERE key = 'key-1' FOR NO KEY UPDATE")
        during = await store.claim_runs(APP, OTHER, ["place-order"], limit=10)
    after = await store.claim_runs(APP, OTHER, ["place-order"], limit=10)
    await link.close()

    assert (during, [record.key for record in after]) == ([], ["key-1"])


async def test_another_process_hears_of_a_commit(store: PostgresStore, far: PostgresStore) -> None:
    heard = asyncio.Event()
    far.on_hint(heard.set)

    await store.commit(started("1", owner=""))

    async with asyncio.timeout(5):
        assert await heard.wait()


async def test_of_a_retry_and_another_attempt_that_begin_together_one_wins(
    store: PostgresStore, far: PostgresStore
) -> None:
    for at in range(20):
        await store.commit(started(f"{at}", status=RunStatus.FAILED))
        reopened = store.commit(ReopenRun(run(f"{at}", status=RunStatus.COMPENSATING, epoch=1)))
        again = run(f"{at}", key=f"key-{at}-2", attempt=2)
        repeated = far.commit(InsertRun(again), RequireEnded(f"key-{at}"))
        outcomes = [await reopened, await repeated]

        assert sorted(outcomes) == [Outcome.APPLIED, Outcome.CONFLICT]
