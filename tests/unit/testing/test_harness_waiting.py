"""`Harness`: an application that waits for the time, for events and for people."""

from datetime import timedelta
from pathlib import Path

from daemon import Event, RunStatus, WorkflowEngine
from daemon.testing import Harness
from tests.unit.testing.folders import application

WAITING = """
from datetime import timedelta

from daemon import (
    Event, Ref, StepContext, StepResponse, SubscriberContext, emit, sleep, step, subscriber, transform, wait_for_event,
    workflow,
)

class OrderPlaced(Event, name="order.placed"):
    id: str

class OrderPaid(Event, name="order.paid"):
    order_id: str
    cents: int

class OrderReleased(Event, name="order.released"):
    id: str
    by: str

@step("reserve")
async def reserve(order_id: str) -> str:
    return order_id

@reserve.compensate
async def release(order_id: str, ctx: StepContext) -> None:
    ctx.log.info("released", order=order_id)

@step("ask-clerk", external=True)
async def ask_clerk(order_id: str) -> StepResponse[str, str]:
    return StepResponse.pending(compensate_input=order_id)

@workflow("sell")
def sell(order_id: Ref[str]) -> Ref[str]:
    reserve(order_id)
    paid = wait_for_event(OrderPaid, key=order_id, match=lambda e: e.order_id, timeout=timedelta(days=2))
    sleep(timedelta(hours=12))
    clerk = ask_clerk(transform(paid, lambda p: p.order_id))
    emit(transform(paid, clerk, lambda p, c: OrderReleased(id=p.order_id, by=c)))
    return clerk

@workflow("count-coins")
def count_coins(order_id: Ref[str]) -> Ref[int]:
    paid = wait_for_event(OrderPaid, key=1, match=lambda e: 100 // e.cents)
    return paid.pick(lambda p: p.cents)

@subscriber(OrderPlaced)
async def sell_it(event: OrderPlaced, ctx: SubscriberContext) -> None:
    run = await sell(ctx.container).run(event.id, run_id=event.id)
    ctx.log.info("sold", by=run.result)
"""


class OrderPlaced(Event, name="order.placed"):
    id: str


class OrderPaid(Event, name="order.paid"):
    order_id: str
    cents: int | str = 100


HOURS = timedelta(hours=12)


async def test_an_application_that_waits_goes_on_when_it_is_told(tmp_path: Path) -> None:
    async with Harness(application(tmp_path, workflows__waiting=WAITING)) as app:
        for order_id in ("one", "two"):
            await app.publish(OrderPlaced(id=order_id))
        await app.settle()
        await app.publish(OrderPaid(order_id="one"))
        await app.advance(HOURS)
        engine = await app.container.aget(WorkflowEngine)
        asked = [run.waiting_for for run in app.runs()]
        await engine.complete_step("one", "ask-clerk", "Ann")
        await app.advance(2 * timedelta(days=1))
        one, two = app.runs()

        handled = [line["outcome"] for line in app.log if line["event"] == "event_handled"]
        assert asked == ["the outcome of ask-clerk", "order.paid (wait-for-event-1)"]
        assert (one.status, one.result) == (RunStatus.COMPLETED, "Ann")
        assert (two.status, two.compensated) == (RunStatus.REVERTED, ["reserve"])
        assert two.errors[0].attempts[0].type == "WaitTimeout"
        assert handled.count("parked") == 2
        assert [each.data for each in app.published if each.name == "order.released"] == [{"id": "one", "by": "Ann"}]
        assert app.dead_letters == []


async def test_an_awaited_event_that_does_not_fit_is_a_dead_letter_at_once(tmp_path: Path) -> None:
    async with Harness(application(tmp_path, workflows__waiting=WAITING)) as app:
        await app.publish(OrderPlaced(id="one"))
        await app.publish(OrderPaid(order_id="one", cents="many"))
        await app.settle()
        [letter] = app.dead_letters
        [run] = app.runs()

    assert (letter.subscriber, letter.reason, letter.attempts) == ("workflows", "invalid_payload", 1)
    assert "cents" in letter.error
    assert run.status is RunStatus.WAITING


async def test_a_match_that_keeps_raising_makes_a_dead_letter_and_holds_nobody_else_back(tmp_path: Path) -> None:
    async with Harness(application(tmp_path, workflows__waiting=WAITING)) as app:
        await app.publish(OrderPlaced(id="one"))
        await app.settle()
        await app.publish(OrderPaid(order_id="one", cents=0))
        await app.settle()
        [run] = app.runs()
        await app.advance(timedelta(hours=1))
        [letter] = app.dead_letters

    assert run.waiting_for.startswith("sleep-1 until")
    assert (letter.subscriber, letter.reason, letter.attempts) == ("workflows", "attempts_exhausted", 5)
    assert "ZeroDivisionError" in letter.error


async def test_an_event_that_matches_is_one_for_every_workflow_that_waits(tmp_path: Path) -> None:
    async with Harness(application(tmp_path, workflows__waiting=WAITING)) as app:
        engine = await app.container.aget(WorkflowEngine)
        count_coins = engine.workflows["count-coins"]
        await app.publish(OrderPlaced(id="one"))
        await count_coins(app.container).run("x", wait=False)  # type: ignore[operator]
        await app.settle()
        await app.publish(OrderPaid(order_id="one", cents=100))
        await app.settle()
        by_name = {run.workflow: run for run in app.runs()}

    assert by_name["count-coins"].result == 100
    assert by_name["sell"].waiting_for.startswith("sleep-1 until")
