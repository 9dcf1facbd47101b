"""Answers of PostgreSQL that are lost: what was asked for is neither lost nor done twice."""

import pytest

from daemon.errors import StoreUnavailableError
from daemon.store.job_model import ClaimOutcome, Deployed, FiringClaim, JobDeclaration
from daemon.store.model import RunStatus
from daemon.store.postgres import PostgresStore
from daemon.store.writes import Enqueue, Outcome, PutStep, RequireNoSignal, UpdateRun
from tests.contract.records import APP, ME, OTHER, delivery, fire, firing, run, started, step
from tests.integration.proxy import Proxy

LEASE_S = 60.0


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
