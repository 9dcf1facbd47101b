"""Jobs in real processes: one firing in a fleet, and what becomes of it when its daemon dies."""

import signal
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

from tests.acceptance.application import Application
from tests.acceptance.process import Entry, until
from tests.soak.firings import fire
from tests.soak.fleet import Fleet

NIGHTLY = """
from datetime import timedelta

from daemon import JobContext, job
from subscribers.keep_ledger import Order, enter_order


@job(timedelta(seconds=1), name="nightly", max_runs=1)
async def nightly(ctx: JobContext) -> None:
    first = await enter_order(ctx.container).run(Order(id="first"))
    second = await enter_order(ctx.container).run(Order(id="second"))
    ctx.log.info("nightly_done", first=first.run_id, second=second.run_id)
"""

TICK = """
from datetime import timedelta

from daemon import job


@job(timedelta(seconds=1))
async def tick() -> None:
    pass
"""

SLOW = """
import asyncio
from datetime import timedelta
from pathlib import Path

from daemon import JobContext, job
from subscribers.keep_ledger import Order, OrderPlaced, enter_order


@job(timedelta(days=3650))
async def slow(ctx: JobContext) -> None:
    await enter_order(ctx.container).run(Order(id="first"))
    ctx.log.info("slow_begun")
    while not Path(ctx.options["gate"]).exists():
        await asyncio.sleep(0.01)
    await enter_order(ctx.container).run(Order(id="second"))
    ctx.emit(OrderPlaced(id="third", amount=1))
"""


def test_a_firing_whose_daemon_was_killed_is_picked_up_again_on_the_same_runs(laboratory: Application) -> None:
    gate = laboratory.folder / "gate"
    laboratory.configure({"options.enter-order.held": "enter", "options.enter-order.gate": str(gate)})
    laboratory.add("jobs/nightly.py", NIGHTLY)
    with laboratory.daemon() as daemon:
        begun = daemon.wait_for("step_begun", step="enter", order="first")
        daemon.kill()
    before = laboratory.ledger()

    gate.touch()
    with laboratory.daemon() as daemon:
        done = daemon.wait_for("nightly_done")
        finished = daemon.wait_for("job_finished", job="nightly", outcome="ok")
        assert daemon.stop() == 0

    runs = laboratory.sagad_json("runs", "list", "--workflow", "enter-order")["items"]
    assert [step for step, _, _ in before] == ["reserve"]
    assert finished["attempt"] == 2
    assert done["first"] == begun["run_id"]
    assert {run["run_id"]: run["status"] for run in runs} == dict.fromkeys((done["first"], done["second"]), "completed")
    # Every step once, also of the run that the kill interrupted between two of them.
    assert Counter((step, order) for step, order, _ in laboratory.ledger()) == Counter(
        (step, order) for step in ("reserve", "enter") for order in ("first", "second")
    )


def test_a_job_fires_once_every_second_while_the_daemons_that_fire_it_are_killed(
    postgres_database: str, tmp_path: Path
) -> None:
    report = fire(postgres_database, tmp_path, daemons=2, seconds=10, pause_s=(2, 3), seed=1)

    assert report.violations == []
    assert report.kills >= 1
    assert report.seconds == len(report.starts) >= 10


def test_a_running_daemon_heeds_what_is_ordered_by_another_process(laboratory: Application) -> None:
    laboratory.add("jobs/tick.py", TICK)

    with laboratory.daemon() as daemon, daemon.api() as api:

        def history(*, state: str) -> list[Entry]:
            found: list[Entry] = api.get("/api/jobs/tick/firings", params={"state": state}).json()["items"]
            return found

        daemon.wait_for("job_finished", job="tick", outcome="ok")
        laboratory.sagad("jobs", "pause", "tick", "--by", "ann", "--reason", "the disk is full")
        until(lambda: bool(history(state="skipped")), "a firing is skipped")
        ordered = laboratory.sagad_json("jobs", "trigger", "tick", "--by", "bob", "--reason", "only this one")
        daemon.wait_for("job_finished", job="tick", scheduled_for=ordered["scheduled_for"], outcome="ok")
        (paused,) = [each for each in api.get("/api/jobs").json()["items"] if each["name"] == "tick"]
        done = len(daemon.logged("job_finished", job="tick", outcome="ok"))
        laboratory.sagad("jobs", "resume", "tick")
        daemon.wait_for("job_finished", job="tick", outcome="ok", count=done + 1)
        orders = api.get("/api/jobs/tick/orders").json()["items"]
        skipped, completed = history(state="skipped"), history(state="completed")

    assert {each["error"] for each in skipped} == {"paused by ann: the disk is full"}
    assert (paused["state"], paused["paused"]["by"]) == ("paused", "ann")
    (manual,) = [each for each in completed if each["trigger"] == "manual"]
    assert (manual["by"], manual["reason"], manual["attempt"]) == ("bob", "only this one", 1)
    assert [each["action"] for each in orders] == ["resume", "trigger", "pause"]


def test_a_daemon_that_is_stopped_past_its_lease_changes_nothing_when_it_goes_on(
    laboratory: Application, postgres_database: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    laboratory.add("jobs/slow.py", SLOW)
    laboratory.configure({"storage.url": postgres_database, "options.slow.gate": str(gate)})
    fleet = Fleet(laboratory, 2)
    try:
        for number in fleet.numbers:
            fleet.start(number)
        ordered = laboratory.sagad_json("jobs", "trigger", "slow")
        until(lambda: any(fleet.daemon(each).logged("slow_begun") for each in fleet.numbers), "one of them begins")
        stopped, other = sorted(map(fleet.daemon, fleet.numbers), key=lambda each: not each.logged("slow_begun"))
        stopped.send(signal.SIGSTOP)
        other.wait_for("slow_begun", attempt=2)

        stopped.send(signal.SIGCONT)
        gate.touch()  # both go on with what they were at
        lost = stopped.wait_for("job_finished", job="slow")
        done = other.wait_for("job_finished", job="slow")
        until(lambda: ("enter", "third") in [each[:2] for each in laboratory.ledger()], "what was emitted is handled")
        for number in fleet.numbers:
            fleet.terminate(number)
        handled = [each for each in fleet.logged() if each["event"] == "event_handled"]
    finally:
        fleet.end()

    (firing,) = laboratory.sagad_json("jobs", "history", "slow")["items"]
    runs = laboratory.sagad_json("runs", "list", "--workflow", "enter-order")["items"]
    assert fleet.violations == []
    assert (lost["outcome"], lost["attempt"]) == ("taken_over", 1)
    assert (done["outcome"], done["attempt"]) == ("ok", 2)
    assert (firing["scheduled_for"], firing["state"], firing["attempt"]) == (ordered["scheduled_for"], "completed", 2)
    assert [each["message"] for each in firing["attempts"]] == ["it was started and never ended: its process went away"]
    # Each run once, every step of it once, and the event of one of the two.
    assert [run["status"] for run in runs] == ["completed"] * 3
    assert Counter((step, order) for step, order, _ in laboratory.ledger()) == Counter(
        (step, order) for step in ("reserve", "enter") for order in ("first", "second", "third")
    )
    assert [each["subscriber"] for each in handled] == ["keep-ledger"]


def test_a_reload_in_one_of_two_daemons_after_the_other_loses_and_repeats_no_firing(
    laboratory: Application, postgres_database: str
) -> None:
    laboratory.add("jobs/tick.py", TICK)
    laboratory.configure({"storage.url": postgres_database, "jobs.tick.catch_up": "all"})
    fleet = Fleet(laboratory, 2)

    def fired() -> list[datetime]:
        lines = [each for each in fleet.logged() if each["event"] == "job_finished" and each["outcome"] == "ok"]
        return sorted(datetime.fromisoformat(each["scheduled_for"]) for each in lines if each["job"] == "tick")

    def wait_for_more(count: int) -> None:
        wanted = len(fired()) + count
        until(lambda: len(fired()) >= wanted, "more firings")

    try:
        for number in fleet.numbers:
            fleet.start(number)
        wait_for_more(3)
        laboratory.configure({"jobs.tick.schedule": "*/2 * * * * *"})
        fleet.daemon(0).send(signal.SIGHUP)
        fleet.daemon(0).wait_for("configuration_reloaded")
        told = fleet.daemon(1).wait_for("job_superseded", job="tick")
        wait_for_more(2)
        fleet.daemon(1).send(signal.SIGHUP)
        fleet.daemon(1).wait_for("configuration_reloaded")
        wait_for_more(2)
        for number in fleet.numbers:
            fleet.terminate(number)
        times = fired()
    finally:
        fleet.end()

    last_odd = max(each for each in times if each.second % 2)
    seconds = [times[0] + timedelta(seconds=number) for number in range((times[-1] - times[0]).seconds + 1)]
    assert times == [each for each in seconds if each <= last_odd or each.second % 2 == 0]
    assert fleet.violations == []
    assert told["ours"] != told["theirs"]
    assert [each["event"] for each in fleet.logged() if each["event"] == "job_missed"] == []
