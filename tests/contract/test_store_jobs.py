"""Jobs that processes declare, of whom the one that was deployed last has its way."""

from daemon.store.job_model import JobRecord
from daemon.store.port import Store
from tests.contract.jobs import RUNNING, SUPERSEDED, claim, claimed, declare, known
from tests.contract.records import APP, ME, OTHER


async def test_a_job_that_nobody_knew_is_dealt_with_until_now(store: Store) -> None:
    found = await declare(store, "nightly", "hourly")

    again = await declare(store, "nightly", "hourly", at_us=90)

    assert found["nightly"] == JobRecord(APP, "nightly", "f", "t", 50, 50)
    assert found == again == await store.jobs(APP)
    assert await store.jobs(APP, ["nightly", "unknown"]) == {"nightly": found["nightly"]}
    assert await store.jobs(APP, []) == {}
    assert await store.jobs("bank") == {}


async def test_a_newer_deployment_has_its_way_and_the_older_one_is_told(store: Store) -> None:
    await store.register(APP, ME, lease_s=60)
    await store.register(APP, OTHER, lease_s=60)
    await declare(store, "nightly")

    newer = await declare(store, "nightly", owner=OTHER, deployment="second", fingerprint="g", times="u", at_us=70)
    older = await declare(store, "nightly", at_us=80)

    assert newer == older == {"nightly": JobRecord(APP, "nightly", "g", "u", 70, 70)}
    assert await claimed(store, claim(100)) == [SUPERSEDED]
    assert await claimed(store, claim(100, owner=OTHER, fingerprint="g")) == [RUNNING]
    assert (await known(store)).dealt_us == 100


async def test_an_older_deployment_has_its_way_once_no_process_of_the_newer_one_lives(store: Store) -> None:
    await store.register(APP, ME, lease_s=60)
    await store.register(APP, OTHER, lease_s=60)
    await declare(store, "nightly")
    await declare(store, "nightly", owner=OTHER, deployment="second", fingerprint="g", times="u", at_us=70)

    await store.retire(OTHER)
    found = await declare(store, "nightly", at_us=80)

    assert found["nightly"] == JobRecord(APP, "nightly", "f", "t", 50, 80)


async def test_a_job_with_the_same_times_is_not_dealt_with_because_something_else_of_it_changed(store: Store) -> None:
    await declare(store, "nightly")

    found = await declare(store, "nightly", deployment="second", fingerprint="g", at_us=70)

    assert found["nightly"] == JobRecord(APP, "nightly", "g", "t", 70, 50)


async def test_a_job_that_was_turned_off_is_dealt_with_until_it_is_declared_again(store: Store) -> None:
    await declare(store, "nightly", "hourly")

    await declare(store, deployment="second", dropped=["nightly", "hourly", "unknown"], at_us=60)
    await claimed(store, claim(70, job="hourly"))
    dropped = await store.jobs(APP)
    found = await declare(store, "nightly", "hourly", deployment="third", at_us=90)

    assert {name: job.dropped_us for name, job in dropped.items()} == {"nightly": 60, "hourly": None}
    assert {name: job.dealt_us for name, job in found.items()} == {"nightly": 90, "hourly": 70}
    assert found["nightly"].dropped_us is None


async def test_ten_thousand_jobs_are_declared_at_once(store: Store) -> None:
    names = [f"job-{number}" for number in range(10_000)]

    await declare(store, *names)
    found = await declare(store, *names, at_us=70)

    assert len(found) == 10_000
    assert {job.dealt_us for job in found.values()} == {50}
