"""Scenarios of what a run waits for: a time, an attempt, an event, a report."""

import asyncio
from datetime import UTC, datetime

from pydantic import BaseModel

from daemon import (
    Ref,
    Retry,
    RunStatus,
    StepContext,
    StepResponse,
    parallelize,
    sleep,
    sleep_until,
    step,
    transform,
    wait_for_event,
    workflow,
)
from tests.contract.engine.outside import HOUR, MINUTE, SECOND, Paid, tell
from tests.contract.engine.processes import Process
from tests.crashes.ledger import DO, TRY, UNDO, Ledger
from tests.crashes.scenario import Input, Plan, Scenario, act, always, never, request, until

REVERTED, CANCELLED = frozenset({RunStatus.REVERTED}), frozenset({RunStatus.CANCELLED})
COMPLETED = frozenset({RunStatus.COMPLETED})


class Answer(BaseModel):
    """What somebody answered."""

    by: str


def paid(after: str = "") -> Input:
    return Input(lambda process: tell(process, Paid(order_id="1")), after)


def timers(*, fails: bool) -> Scenario:
    a, b, c, d = act("a"), act("b"), act("c"), act("d", fails=always() if fails else never)

    @workflow("timers-fail" if fails else "timers")
    def flow() -> Ref[str]:
        a(None)
        sleep(SECOND / 2)
        b(None)
        sleep(10 * SECOND)
        sleep_until(transform(c(None), lambda _: datetime(2026, 2, 1, tzinfo=UTC)))
        return d(None)

    ends = REVERTED if fails else COMPLETED
    return Scenario(f"timers, fails: {fails}", flow, ("a", "b", "c", "d"), ends)


def retries(*, gives_up: bool) -> Scenario:
    """Attempts that are tried again at once, soon, and much later; of steps, and of compensations."""
    soon, late = Retry(max_attempts=3, delay=SECOND / 2), Retry(max_attempts=3, delay=HOUR)
    a = act("a", fails=until(3), retry=soon, undo_fails=until(3), compensation_retry=late)
    b = act("b", fails=until(3), retry=late, undo_fails=until(2), compensation_retry=soon)
    c = act("c", fails=always() if gives_up else until(2), retry=Retry(max_attempts=2))

    @workflow("retries-give-up" if gives_up else "retries")
    def flow() -> Ref[str]:
        return c(b(a(None)))

    return Scenario(f"retries, gives up: {gives_up}", flow, ("a", "b", "c"), REVERTED if gives_up else COMPLETED)


def retries_in_a_group() -> Scenario:
    late = Retry(max_attempts=3, delay=HOUR)
    a, x, y = act("a"), act("x", fails=until(3), retry=late), act("y", fails=until(2), retry=late)
    z, d = act("z"), act("d", fails=always())

    @workflow("retries-in-a-group")
    def flow() -> None:
        a(None)
        parallelize(x(None), y(None), z(None))
        d(None)

    return Scenario("retries in a group", flow, ("a", frozenset("xyz"), "d"), REVERTED)


def events(when: str, *, fails: bool) -> Scenario:
    """An event comes while the run waits, before it does, or never."""
    a, b, d = act("a"), act("b"), act("d", fails=always() if fails else never)

    @workflow(f"waits-for-event-{when}-fails" if fails else f"waits-for-event-{when}")
    def flow() -> Ref[str]:
        a(None)
        came = wait_for_event(Paid, key="1", match=lambda event: event.order_id, timeout=HOUR)
        b(transform(came, lambda event: event.order_id))
        return d(None)

    inputs = {"idle": (paid(),), "early": (paid("a"),), "never": ()}[when]
    plan = ("a",) if when == "never" else ("a", "b", "d")
    ends = REVERTED if fails or when == "never" else COMPLETED
    return Scenario(f"event comes {when}, fails: {fails}", flow, plan, ends, inputs)


def event_in_a_child() -> Scenario:
    a, one, two, beside = act("a"), act("one"), act("two"), act("beside")

    @workflow("waiting-child")
    def child() -> Ref[str]:
        one(None)
        wait_for_event(Paid, key="1", match=lambda event: event.order_id)
        return two(None)

    @workflow("around-waiting-child")
    def flow() -> Ref[str]:
        a(None)
        found, _ = parallelize(child.as_step(), beside(None))
        return act("d", fails=always())(found)

    plan: Plan = ("a", frozenset({("one", "two"), "beside"}), "d")
    return Scenario("an event in a child", flow, plan, REVERTED, (paid(),))


def reports(how: str, *, fails: bool) -> Scenario:
    """Somebody reports a step's outcome, that it failed, or nothing until its time is over."""

    @step("ask", external=True, timeout=HOUR, retry=Retry(max_attempts=2, delay=HOUR), compensation_retry=Retry.never())
    async def ask(given: str, ctx: StepContext) -> StepResponse[Answer, str | None]:
        await ctx.container.get(Ledger).note(DO, "ask", ctx)
        return StepResponse.pending(compensate_input="asked")

    @ask.compensate
    async def take_back(given: str | None, ctx: StepContext) -> None:
        await ctx.container.get(Ledger).note(UNDO, "ask", ctx)

    a, d = act("a"), act("d", fails=always() if fails else never)

    @workflow(f"reports-{how}-fails" if fails else f"reports-{how}")
    def flow() -> Ref[str]:
        return d(ask(a(None)).pick(lambda answer: answer.by))

    complete = Input(request(lambda process: process.engine.complete_step("run", "ask", Answer(by="Ann"))))
    fail = Input(request(lambda process: process.engine.fail_step("run", "ask", "no"), _first_attempt))
    inputs = {"complete": (complete,), "fail": (fail, Input(_complete_second)), "late": ()}[how]
    plan = ("a", "ask") if how == "late" else ("a", "ask", "d")
    ends = REVERTED if fails or how == "late" else COMPLETED
    return Scenario(f"report: {how}, fails: {fails}", flow, plan, ends, inputs)


async def _attempts(process: Process) -> int:
    run = await process.engine.get("run")
    return run.steps["ask"].attempts if "ask" in run.steps else 0


async def _first_attempt(process: Process) -> bool:
    return await _attempts(process) < 2


async def _complete_second(process: Process) -> None:
    while await _attempts(process) < 2:
        await process.clock.sleep((HOUR + MINUTE).total_seconds())
    await request(lambda process: process.engine.complete_step("run", "ask", Answer(by="Bob")))(process)


def run_out(what: str) -> Scenario:
    """The run's time is up: while a step runs, while it waits for its next attempt, in a child."""

    @step("slow", compensation_retry=Retry.never(), retry=Retry(max_attempts=2, delay=2 * HOUR))
    async def slow(given: str, ctx: StepContext) -> str:
        await ctx.container.get(Ledger).note(TRY, "slow", ctx)
        if what == "retry":
            raise OSError("broken")
        await asyncio.Event().wait()
        raise AssertionError

    @slow.compensate
    async def undo(given: str | None, ctx: StepContext) -> None:
        await ctx.container.get(Ledger).note(UNDO, "slow", ctx)

    a, b = act("a"), act("beside")

    @workflow(f"slow-child-{what}")
    def child(given: Ref[str]) -> Ref[str]:
        return slow(given)

    @workflow(f"run-out-{what}", timeout=HOUR)
    def flow() -> None:
        first = a(None)
        if what == "child":
            parallelize(child.as_step(first), b(first))
        else:
            parallelize(slow(first), b(first))
        act("never")(None)

    return Scenario(f"a run's time is up: {what}", flow, ("a", frozenset({"slow", "beside"})), REVERTED)


def step_timeout() -> Scenario:
    """A step's time is up: nobody knows what it has done."""

    @step("slow", timeout=MINUTE, retry=Retry(max_attempts=2, delay=HOUR), compensation_retry=Retry.never())
    async def slow(given: str, ctx: StepContext) -> str:
        await ctx.container.get(Ledger).note(DO, "slow", ctx)
        await asyncio.Event().wait()
        raise AssertionError

    @slow.compensate
    async def undo(given: str | None, ctx: StepContext) -> None:
        await ctx.container.get(Ledger).note(UNDO, "slow", ctx)

    a = act("a")

    @workflow("step-timeout")
    def flow() -> Ref[str]:
        return slow(a(None))

    return Scenario("a step's time is up", flow, ("a", "slow"), REVERTED)


def scenarios() -> list[Scenario]:
    """Return all of them."""
    both = (False, True)
    return [
        *[timers(fails=fails) for fails in both],
        *[retries(gives_up=gives_up) for gives_up in both],
        retries_in_a_group(),
        *[events(when, fails=fails) for when in ("idle", "early") for fails in both],
        events("never", fails=False),
        event_in_a_child(),
        *[reports(how, fails=fails) for how in ("complete", "fail") for fails in both],
        reports("late", fails=False),
        *[run_out(what) for what in ("step", "retry", "child")],
        step_timeout(),
    ]
