"""What waits for long beside something that goes on, when the run ends: by a failure, or since its time is up."""

import pytest

from daemon import (
    RunStatus,
)
from daemon.clock import ManualClock
from tests.contract.engine.beside import Slow, paying, put_beside, waiting_beside
from tests.contract.engine.outside import HOUR
from tests.contract.engine.processes import Journal, Process, until


@pytest.mark.parametrize("ends", ["fails", "is cancelled"])
async def test_what_waits_is_undone_at_once_when_the_run(shop: Process, journal: Journal, ends: str) -> None:
    slow = Slow(journal, fails=ends == "fails")
    running = await waiting_beside(shop, put_beside(slow, paying(journal)), slow)

    if ends == "is cancelled":
        await shop.engine.cancel("b-1")
    slow.go_on.set()
    run = await running
    child = await shop.engine.get("b-1:paid")

    status = RunStatus.REVERTED if ends == "fails" else RunStatus.CANCELLED
    assert (run.status, child.status, child.waiting_for) == (status, RunStatus.REVERTED, "")
    assert journal == ["first-paid", "slow", "undo first-paid"]


@pytest.mark.parametrize("whose", ["child", "run"])
async def test_a_timeout_strikes_what_waits_beside_something_that_runs(
    shop: Process, clock: ManualClock, journal: Journal, whose: str
) -> None:
    slow = Slow(journal)
    paid = paying(journal, timeout=HOUR if whose == "child" else None)
    beside = put_beside(slow, paid, timeout=HOUR if whose == "run" else None)
    running = await waiting_beside(shop, beside, slow)

    clock.advance(HOUR)
    if whose == "child":
        await until(lambda: shop.engine._live["b-1"].failing, what="its time is up")
        slow.go_on.set()
    run = await running

    name = "paid" if whose == "child" else "beside"
    assert [(each.step, each.attempts[0].type) for each in run.errors] == [(name, "RunTimeout")]
    assert journal == ["first-paid", *(["slow"] if whose == "child" else []), "undo first-paid"]
