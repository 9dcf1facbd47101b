"""Scenarios of what the outside does to a run: cancels it, takes it up again, runs it once more, queues it."""

from typing import Any

from daemon import (
    Ref,
    Retry,
    RunStatus,
    parallelize,
    sleep,
    wait_for_event,
    workflow,
)
from tests.contract.engine.outside import HOUR, Paid
from tests.contract.engine.processes import APP, Process
from tests.crashes.scenario import Input, Scenario, act, always, never, request, until

REVERTED, CANCELLED = frozenset({RunStatus.REVERTED}), frozenset({RunStatus.CANCELLED})
COMPLETED = frozenset({RunStatus.COMPLETED})


def cancel(after: str = "", *, run_id: str = "run") -> Input:
    return Input(request(lambda process: process.engine.cancel(run_id)), after)


def cancelled(after: str) -> Scenario:
    """Somebody cancels the run: while it waits, while it runs, while it rolls back."""
    a, b, d = act("a", undo_fails=until(2), compensation_retry=Retry(2, delay=HOUR)), act("b"), act("d")
    broken = act("c", fails=always() if after.startswith("undo") else never)

    @workflow(f"cancelled-{after.replace(' ', '-') or 'waiting'}")
    def flow() -> Ref[str]:
        a(None)
        b(None)
        broken(None)
        wait_for_event(Paid, key="1", match=lambda event: event.order_id)
        return d(None)

    plan = ("a", "b", "c") if after in ("", "undo b") else ("a", "b?", "c?")
    ends = CANCELLED if not after.startswith("undo") else REVERTED | CANCELLED
    exact = after == ""
    return Scenario(f"cancelled after {after or 'it waits'}", flow, plan, ends, (cancel(after),), exact=exact)


def given_up() -> Scenario:
    """A compensation gives up, and somebody has it tried again."""
    tried: dict[str, Any] = {"compensation_retry": Retry(max_attempts=2)}
    a, b = act("a"), act("b", undo_fails=until(3), **tried)
    x, d = act("x"), act("d", fails=always())

    @workflow("given-up")
    def flow() -> None:
        a(None)
        parallelize(b(None), x(None))
        d(None)

    async def is_failed(process: Process) -> bool:
        row = await process.store.run(APP, "run")
        return row is not None and row.status is RunStatus.FAILED

    again = Input(request(lambda process: process.engine.retry("run"), is_failed))
    plan = ("a", frozenset({"b", "x"}), "d")
    back = frozenset("abdx")  # one that gives up stops no other
    return Scenario("a compensation gives up", flow, plan, REVERTED, (again,), back=back, returns=1)


def rerun(from_step: str | None, *, fails: bool) -> Scenario:
    a, b, c = act("a"), act("b"), act("c", fails=always() if fails else never)

    @workflow(f"rerun-child-{from_step or 'start'}-{int(fails)}")
    def child() -> Ref[str]:
        return b(None)

    @workflow(f"rerun-{from_step or 'start'}-{int(fails)}")
    def flow() -> Ref[str]:
        a(None)
        found = child.as_step(name="child")
        return c(found)

    async def is_first(process: Process) -> bool:
        row = await process.store.run(APP, "run")
        return row is not None and row.attempt == 1

    again = Input(request(lambda process: process.engine.rerun("run", from_step=from_step), is_first))
    later = ("a", "b", "c")[("start", "child", "c").index(from_step or "start") :]
    ends = REVERTED if fails else COMPLETED
    name = f"rerun from {from_step}, fails: {fails}"
    return Scenario(name, flow, ("a", "b", "c"), ends, (again,), plans={2: later})


def places() -> Scenario:
    a, b = act("a"), act("b")

    @workflow("places", max_concurrency=1)
    def flow() -> Ref[str]:
        a(None)
        sleep(HOUR)
        return b(None)

    return Scenario("places", flow, ("a", "b"), COMPLETED, runs=("one", "two", "three"))


def scenarios() -> list[Scenario]:
    """Return all of them."""
    return [
        *[cancelled(after) for after in ("", "a", "b", "undo b")],
        given_up(),
        *[rerun(step, fails=False) for step in (None, "child", "c")],
        rerun(None, fails=True),
        places(),
    ]
