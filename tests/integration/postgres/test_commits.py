"""Commits on PostgreSQL: many in one transaction, of which none spoils another."""

import asyncpg

from daemon.store.postgres import PostgresStore
from daemon.store.writes import FenceRun, Outcome, PutStep, UpdateFiring
from tests.contract.records import APP, ME, OTHER, fire, firing, started, step


async def test_many_commits_share_a_transaction(store: PostgresStore) -> None:
    await store.commit(started("1"))
    before = store.transactions

    commits = [store.commit(FenceRun("key-1", ME), PutStep(step("1", f"s{at}"))) for at in range(500)]
    outcomes = [await each for each in commits]

    assert set(outcomes) == {Outcome.APPLIED}
    assert store.transactions - before <= 3
    assert len((await store.steps(["key-1"]))["key-1"]) == 500


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


async def _outcome(commit: object) -> str:
    try:
        return str(await commit)  # type: ignore[misc]
    except ValueError:
        return "ValueError"
