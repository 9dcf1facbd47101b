"""What the store on PostgreSQL promises beyond the contract: lost connections, other processes, its schema."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import asyncpg
import pytest

from daemon.errors import StoreUnavailableError, StoreVersionError
from daemon.store.job_model import ClaimOutcome, Deployed, FiringClaim, JobDeclaration
from daemon.store.model import RunStatus
from daemon.store.postgres import PostgresStore
from daemon.store.postgres_schema import check_server
from daemon.store.schema import migrations
from daemon.store.writes import (
    Enqueue,
    FenceRun,
    InsertRun,
    Outcome,
    PutStep,
    ReopenRun,
    RequireEnded,
    RequireNoSignal,
    UpdateFiring,
    UpdateRun,
)
from tests.contract.engine.processes import until
from tests.contract.records import APP, ME, OTHER, delivery, fire, firing, run, started, step
from tests.integration.proxy import Proxy
from tests.services import PostgresContainer, PostgresServer, own_schema, private_postgres

LEASE_S = 60.0


@pytest.fixture
async def schema(postgres_url: str) -> AsyncIterator[str]:
    async with own_schema(postgres_url) as name:
        yield name


@pytest.fixture
async def store(postgres_url: str, schema: str) -> AsyncIterator[PostgresStore]:
    async with AsyncExitStack() as stack:
        opened = PostgresStore(postgres_url, app=APP, schema=schema)
        await opened.open()
        stack.push_async_callback(opened.aclose)
        yield opened


@pytest.fixture
async def proxy(postgres_url: str) -> AsyncIterator[Proxy]:
    async with Proxy(postgres_url) as opened:
        yield opened


@pytest.fixture
async def far(proxy: Proxy, store: PostgresStore, schema: str) -> AsyncIterator[PostgresStore]:
    """A store on the same schema, whose connections go through the proxy."""
    async with AsyncExitStack() as stack:
        opened = PostgresStore(proxy.url, app=APP, schema=schema)
        await opened.open()
        stack.push_async_callback(opened.aclose)
        yield opened


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer | PostgresContainer]:
    """A server that a test may stop and kill."""
    with private_postgres() as started_server:
        yield started_server


async def test_many_commits_share_a_transaction(store: PostgresStore) -> None:
    await store.commit(started("1"))
    before = store.transactions

    commits = [store.commit(FenceRun("key-1", ME), PutStep(step("1", f"s{at}"))) for at in range(500)]
    outcomes = [await each for each in commits]

    assert set(outcomes) == {Outcome.APPLIED}
    assert store.transactions - before <= 3
    assert len((await store.steps(["key-1"]))["key-1"]) == 500


@pytest.mark.parametrize("how", [b"key-1", b"COMMIT"], ids=["at once", "in steps"])
@pytest.mark.parametrize("lost", ["the answer", "the request"])
async def test_a_commit_whose_answer_is_lost_is_neither_repeated_nor_refused(
    far: PostgresStore, store: PostgresStore, proxy: Proxy, lost: str, how: bytes
) -> None:
    proxy.cut_at(how, before=lost == "the request")

    looking_back = [RequireNoSignal(APP, "paid", 0)] if how == b"COMMIT" else []
    outcomes = [await far.commit(started("1"), *looking_back, PutStep(step("1", "pay")))]
    outcomes.append(await far.commit(UpdateRun(run("1", status=RunStatus.COMPLETED))))

    assert proxy.cuts == 1
    assert outcomes == [Outcome.APPLIED, Outcome.APPLIED]
    assert await store.run(APP, "run-1") == run("1", status=RunStatus.COMPLETED)


@pytest.mark.parametrize("lost", ["the answer", "the request"])
async def test_deliveries_of_whose_taking_the_answer_is_lost_are_taken_the_next_time(
    far: PostgresStore, store: PostgresStore, proxy: Proxy, lost: str
) -> None:
    await far.register(APP, ME, lease_s=LEASE_S)
    await store.commit(Enqueue((delivery("event-1"), delivery("event-2"))))
    proxy.cut_at(b"COMMIT", before=lost == "the request")

    with pytest.raises(StoreUnavailableError):
        await far.take(APP, "greet", ME, limit=5, now_us=2_000)
    taken = await far.take(APP, "greet", ME, limit=5, now_us=2_000)
    again = await far.take(APP, "greet", ME, limit=5, now_us=2_000)

    assert proxy.cuts == 1
    assert [(each.event_id, each.owner, each.deliveries) for each in taken] == [("event-1", ME, 1), ("event-2", ME, 1)]
    assert again == []


@pytest.mark.parametrize("lost", ["the answer", "the request"])
async def test_firings_of_whose_takeover_the_answer_is_lost_are_taken_over_the_next_time(
    far: PostgresStore, store: PostgresStore, proxy: Proxy, lost: str
) -> None:
    await far.register(APP, ME, lease_s=LEASE_S)
    await fire(store, firing(1_000, owner=OTHER))
    proxy.cut_at(b"COMMIT", before=lost == "the request")

    with pytest.raises(StoreUnavailableError):
        await far.claim_firings(APP, ME, ["nightly"], limit=5)
    claimed = await far.claim_firings(APP, ME, ["nightly"], limit=5)
    again = await far.claim_firings(APP, ME, ["nightly"], limit=5)

    assert proxy.cuts == 1
    assert [(each.owner, each.attempt) for each in claimed] == [(ME, 2)]
    assert again == []


@pytest.mark.parametrize("lost", ["the answer", "the request"])
async def test_firings_of_whose_claim_the_answer_is_lost_are_had_the_next_time(
    far: PostgresStore, store: PostgresStore, proxy: Proxy, lost: str
) -> None:
    await far.declare_jobs(Deployed(APP, ME, "first", 1, [JobDeclaration("nightly", "f")]))
    claims = [FiringClaim(firing(at, owner=ME), "f", "allow") for at in (100, 200)]
    proxy.cut_at(b"COMMIT", before=lost == "the request")

    with pytest.raises(StoreUnavailableError):
        await far.claim_due(APP, claims, now_us=300)
    claimed = await far.claim_due(APP, claims, now_us=300)
    again = await far.claim_due(APP, claims, now_us=300)

    assert proxy.cuts == 1
    assert [(each.outcome, each.record) for each in claimed] == [
        (ClaimOutcome.RUNNING, firing(at, owner=ME)) for at in (100, 200)
    ]
    assert [each.outcome for each in again] == [ClaimOutcome.TAKEN] * 2
    assert (await store.jobs(APP))["nightly"].used == 2


async def test_a_commit_that_arrives_once_it_was_made_anew_does_nothing(
    far: PostgresStore, store: PostgresStore, proxy: Proxy
) -> None:
    await far.commit(started("1"))
    proxy.hold_at(b"the first")

    outcomes = [await far.commit(UpdateRun(run("1", errors=b"the first")))]
    outcomes.append(await far.commit(UpdateRun(run("1", errors=b"the second"))))
    await proxy.release()
    stored = await store.run(APP, "run-1")

    assert proxy.cuts == 1
    assert outcomes == [Outcome.APPLIED, Outcome.APPLIED]
    assert stored is not None
    assert stored.errors == b"the second"


async def test_what_is_refused_does_not_keep_what_was_submitted_with_it_from_being_committed(
    store: PostgresStore,
) -> None:
    await store.commit(started("1"))
    before = store.transactions

    commits = [
        store.commit(started("2"), PutStep(step("2", "pay"))),
        store.commit(FenceRun("key-1", OTHER), PutStep(step("1", "fenced"))),
        store.commit(started("1", key="key-other"), PutStep(step("other", "refused"))),
        store.commit(FenceRun("key-1", ME), PutStep(step("1", "pay"))),
    ]
    outcomes = [await each for each in commits]
    steps = await store.steps(["key-1", "key-2", "key-other"])

    assert outcomes == [Outcome.APPLIED, Outcome.FENCED, Outcome.CONFLICT, Outcome.APPLIED]
    assert {key: [each.name for each in found] for key, found in steps.items()} == {
        "key-1": ["pay"],
        "key-2": ["pay"],
        "key-other": [],
    }
    assert store.transactions - before == 1


async def test_a_writer_whose_number_was_forgotten_introduces_itself_again(
    store: PostgresStore, postgres_url: str, schema: str
) -> None:
    await store.commit(started("1"))
    link = await asyncpg.connect(postgres_url, server_settings={"search_path": schema})
    await link.execute("DELETE FROM batches")
    await link.close()

    outcomes = [await store.commit(FenceRun("key-1", ME), PutStep(step("1", name))) for name in ("pay", "ship")]

    assert outcomes == [Outcome.APPLIED, Outcome.APPLIED]
    assert len((await store.steps(["key-1"]))["key-1"]) == 2


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
    proxy.refuse()
    await until(lambda: far.trouble)
    proxy.accept()
    await until(lambda: not far.trouble)


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
        await heard.wait()


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


async def test_one_value_that_cannot_be_kept_fails_its_commit_alone(store: PostgresStore) -> None:
    commits = [store.commit(started(f"{at}", updated_us=2**70 if at == 3 else at)) for at in range(8)]
    found = [await _outcome(each) for each in commits]

    assert [str(each) for each in found] == [*["applied"] * 3, "ValueError", *["applied"] * 4]


async def test_what_no_text_of_postgres_can_hold_is_replaced(store: PostgresStore) -> None:
    await fire(store, firing(1))

    outcome = await store.commit(UpdateFiring(firing(1, error="broken\0text")))

    assert outcome is Outcome.APPLIED
    assert (await store.firings(APP, "nightly", limit=1))[0].error == "broken\ufffdtext"


async def test_what_has_to_be_replaced_costs_what_was_submitted_with_it_no_transaction_more(
    store: PostgresStore,
) -> None:
    for at in range(20):
        await fire(store, firing(at))
    before = store.transactions

    commits = [store.commit(UpdateFiring(firing(at, error="broken\0text"))) for at in range(20)]
    outcomes = [await each for each in commits]

    assert outcomes == [Outcome.APPLIED] * 20
    assert store.transactions - before <= 2


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


async def _outcome(commit: object) -> str:
    try:
        return str(await commit)  # type: ignore[misc]
    except ValueError:
        return "ValueError"


def test_a_server_that_is_too_old_is_refused_in_a_sentence() -> None:
    check_server(13)
    with pytest.raises(StoreVersionError, match="The database's server is PostgreSQL 12; sagad needs 13 or later"):
        check_server(12)
