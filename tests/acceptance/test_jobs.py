"""Jobs in real processes: one firing in a fleet, and what becomes of it when its daemon dies."""

from collections import Counter
from pathlib import Path

from tests.acceptance.application import Application
from tests.soak.firings import fire

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
    assert report.kills >= 2
    assert report.seconds == len(report.starts) >= 10
