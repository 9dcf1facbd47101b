"""What operators see of jobs and order of them, without a scheduler."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from daemon.clock import ManualClock, to_us
from daemon.errors import JobNotFound, JobStateError
from daemon.schedule.desk import JobDesk, JobState
from daemon.schedule.job import Job, job
from daemon.store.job_model import Claimed, Deployed, FiringClaim, FiringRecord, FiringState, JobDeclaration
from daemon.store.memory import MemoryStore
from daemon.store.writes import UpdateFiring

APP, OWNER, HASH = "shop", "process-1", "hash-1"
NOON = datetime(2026, 3, 28, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def made(name: str, schedule: str | timedelta = "0 * * * *", **options: Any) -> Job[Any]:
    @job(schedule, name=name, **options)
    async def nothing() -> None:
        """Do nothing."""

    return nothing


class Office:
    """A desk, and a store in which daemons have left their traces."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOON)
        self.store = MemoryStore(self.clock)

    def desk(self, *jobs: Job[Any], off: tuple[Job[Any], ...] = ()) -> JobDesk:
        return JobDesk(self.store, self.clock, app=APP, jobs=lambda: jobs, declared=(*off, *jobs))

    async def declared(self, *jobs: Job[Any]) -> None:
        found = [JobDeclaration(each.name, HASH) for each in jobs]
        await self.store.declare_jobs(Deployed(APP, OWNER, "deployment-1", self.clock.now_us(), found))

    async def fired(self, of: Job[Any], at: datetime, state: FiringState = FiringState.COMPLETED) -> Claimed:
        """Claim a firing as a daemon does, and have it end in a state, or go on."""
        now_us = to_us(at)
        record = FiringRecord(APP, of.name, now_us, FiringState.RUNNING, OWNER, 1, now_us)
        schedule = of.schedule
        claim = FiringClaim(record, HASH, schedule.overlap, schedule.max_runs)
        (claimed,) = await self.store.claim_due(APP, [claim], now_us=now_us)
        if claimed.record is not None and claimed.outcome == "running" and state is not FiringState.RUNNING:
            claimed.record.state, claimed.record.ended_us = state, now_us + 1_500_000
            await self.store.commit(UpdateFiring(claimed.record))
        return claimed


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    opened = Office()
    await opened.store.open()
    await opened.store.register(APP, OWNER, lease_s=60.0)
    yield opened
    await opened.store.aclose()


def states(found: tuple[JobState, ...]) -> dict[str, str]:
    return {each.job.name: each.status.value for each in found}


async def test_a_job_is_shown_with_its_options_and_its_next_firings_in_its_zone_and_in_utc(office: Office) -> None:
    nightly = made("nightly", "30 2 * * *", timezone="Europe/Berlin", jitter=MINUTE, timeout=2 * MINUTE)

    shown = (await office.desk(nightly).get("nightly")).to_json()

    assert shown | {"retry": None} == {
        "name": "nightly",
        "workflow": None,
        "schedule": "30 2 * * *",
        "every_s": None,
        "timezone": "Europe/Berlin",
        "overlap": "skip",
        "catch_up": "latest",
        "catch_up_window_s": 86_400.0,
        "jitter_s": 60.0,
        "max_runs": None,
        "runs_left": None,
        "starts_at": None,
        "ends_at": None,
        "retry": None,
        "timeout_s": 120.0,
        "state": "active",
        "paused": None,
        "next": [
            {"local": "2026-03-29T03:00:00+02:00", "utc": "2026-03-29T01:00:00+00:00"},
            {"local": "2026-03-30T02:30:00+02:00", "utc": "2026-03-30T00:30:00+00:00"},
            {"local": "2026-03-31T02:30:00+02:00", "utc": "2026-03-31T00:30:00+00:00"},
        ],
        "last": None,
    }


async def test_jobs_are_listed_by_name_with_the_state_that_they_are_in(office: Office) -> None:
    active, paused, off = made("b-active"), made("a-paused"), made("c-off")
    done = made("d-done", max_runs=1)
    ended = made("e-ended", ends_at=NOON - MINUTE)
    await office.declared(active, paused, done, ended)
    await office.fired(done, NOON - MINUTE)
    desk = office.desk(active, paused, done, ended, off=(off,))
    await desk.pause("a-paused", by="ann")

    found = await desk.list()

    assert states(found) == {
        "a-paused": "paused",
        "b-active": "active",
        "c-off": "disabled",
        "d-done": "over",
        "e-ended": "over",
    }
    assert [len(each.to_json()["next"]) for each in found] == [3, 3, 0, 0, 0]


async def test_of_a_job_that_is_nearly_over_only_the_firings_that_are_left_are_shown(office: Office) -> None:
    counted = made("counted", max_runs=3)
    await office.declared(counted)
    await office.fired(counted, NOON - 2 * MINUTE)

    shown = (await office.desk(counted).get("counted")).to_json()

    assert (shown["max_runs"], shown["runs_left"], len(shown["next"])) == (3, 2, 2)
    assert (shown["last"]["state"], shown["last"]["scheduled_for"]) == ("completed", "2026-03-28T11:58:00+00:00")


async def test_the_history_is_read_page_by_page_and_by_state(office: Office) -> None:
    hourly = made("hourly")
    await office.declared(hourly)
    for minute in range(5):
        state = FiringState.FAILED if minute == 2 else FiringState.COMPLETED
        await office.fired(hourly, NOON + minute * MINUTE, state)
    desk = office.desk(hourly)

    first = await desk.history("hourly", limit=3)
    second = await desk.history("hourly", after=first.next, limit=3)
    failed = await desk.history("hourly", state=FiringState.FAILED)

    assert [each["scheduled_for"][14:16] for each in first.items] == ["04", "03", "02"]
    assert [each["scheduled_for"][14:16] for each in second.items] == ["01", "00"]
    assert second.next is None
    assert [(each["state"], each["scheduled_for"][14:16]) for each in failed.items] == [("failed", "02")]


async def test_the_history_of_a_job_that_the_code_has_no_more_is_kept(office: Office) -> None:
    gone = made("gone")
    await office.declared(gone)
    await office.fired(gone, NOON)

    page = await office.desk(made("other")).history("gone")

    assert [each["state"] for each in page.items] == ["completed"]


async def test_a_paused_job_says_since_when_by_whom_and_why_and_skips_with_that_reason(office: Office) -> None:
    hourly = made("hourly")
    await office.declared(hourly)
    desk = office.desk(hourly)

    paused = await desk.pause("hourly", by="ann", reason="the disk is full")
    again = await desk.pause("hourly", by="bob", reason="me too")
    claimed = await office.fired(hourly, NOON + MINUTE)

    assert paused.to_json()["paused"] == {"at": NOON.isoformat(), "by": "ann", "reason": "the disk is full"}
    assert again.to_json() == paused.to_json()
    assert claimed.record is not None
    (skipped,) = (await desk.history("hourly")).items
    assert (skipped["state"], skipped["error"]) == ("skipped", "paused by ann: the disk is full")


async def test_a_job_that_was_resumed_fires_again_and_the_orders_are_kept(office: Office) -> None:
    hourly = made("hourly", overlap="allow")
    await office.declared(hourly)
    desk = office.desk(hourly)
    await desk.pause("hourly", by="ann", reason="deploying")
    office.clock.advance(MINUTE)

    resumed = await desk.resume("hourly", by="bob")
    again = await desk.resume("hourly", by="eve")
    await desk.trigger("hourly", by="bob", reason="to see whether it works")
    claimed = await office.fired(hourly, NOON + 2 * MINUTE)

    assert (resumed.status, again.status, resumed.to_json()["paused"]) == ("active", "active", None)
    assert claimed.outcome == "running"
    orders = await desk.orders("hourly", limit=2)
    rest = await desk.orders("hourly", after=orders.next)
    assert [(each["action"], each["by"], each["reason"]) for each in (*orders.items, *rest.items)] == [
        ("trigger", "bob", "to see whether it works"),
        ("resume", "bob", ""),
        ("pause", "ann", "deploying"),
    ]
    assert (rest.items[0]["at"], rest.next) == (NOON.isoformat(), None)


async def test_a_triggered_firing_waits_for_whichever_daemon_comes(office: Office) -> None:
    hourly = made("hourly")
    await office.declared(hourly)
    desk = office.desk(hourly)

    ordered = await desk.trigger("hourly", by="ann", reason="now")
    taken = await office.store.claim_firings(APP, OWNER, ["hourly"], limit=10)

    assert ordered == {
        "job": "hourly",
        "scheduled_for": "2026-03-28T12:00:00.000001+00:00",
        "state": "waiting",
        "trigger": "manual",
        "by": "ann",
        "reason": "now",
        "attempt": 0,
        "due_at": None,
        "started_at": None,
        "ended_at": None,
        "error": "",
        "attempts": [],
    }
    assert [(each.trigger, each.owner) for each in taken] == [("manual", OWNER)]
    assert (await desk.get("hourly")).to_json()["last"] == ordered


async def test_a_trigger_obeys_overlap(office: Office) -> None:
    skipping, queueing = made("skipping"), made("queueing", overlap="queue")
    await office.declared(skipping, queueing)
    for each in (skipping, queueing):
        await office.fired(each, NOON, FiringState.RUNNING)
    desk = office.desk(skipping, queueing)

    with pytest.raises(JobStateError) as refused:
        await desk.trigger("skipping", by="ann")
    queued = await desk.trigger("queueing", by="ann")

    assert str(refused.value) == (
        "Job 'skipping' is not triggered: a firing of it runs or waits, and its overlap is 'skip'. "
        "`sagad jobs history skipping` shows them."
    )
    assert queued["state"] == "waiting"


async def test_a_trigger_works_while_a_job_is_paused_or_over_and_does_not_count(office: Office) -> None:
    counted = made("counted", max_runs=2)
    await office.declared(counted)
    await office.fired(counted, NOON)
    desk = office.desk(counted)
    await desk.pause("counted", by="ann")

    await desk.trigger("counted", by="ann")
    (taken,) = await office.store.claim_firings(APP, OWNER, ["counted"], limit=10)
    begun = await office.store.begin_firing(taken, overlap="skip", now_us=office.clock.now_us())

    assert begun.outcome == "running"
    assert (await desk.get("counted")).runs_left == 1


async def test_a_job_that_is_turned_off_is_not_triggered_and_says_by_which_key(office: Office) -> None:
    off = made("off")

    with pytest.raises(JobStateError) as refused:
        await office.desk(off=(off,)).trigger("off", by="ann")

    assert str(refused.value) == (
        "Job 'off' is turned off by the configuration: take out jobs.off.enabled = false first."
    )


@pytest.mark.parametrize("order", ["trigger", "pause", "resume", "history", "orders", "get"])
async def test_a_job_that_nobody_knows_is_refused_with_the_name_that_was_probably_meant(
    office: Office, order: str
) -> None:
    desk = office.desk(made("nightly"))
    by = {"by": "ann"} if order in ("trigger", "pause", "resume") else {}

    with pytest.raises(JobNotFound) as refused:
        await getattr(desk, order)("nightyl", **by)

    assert str(refused.value) == "No job has the name 'nightyl'. Did you mean 'nightly'?"
