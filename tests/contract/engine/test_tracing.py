"""A run belongs to the trace of what started it, with everything that it sets off, whoever drives it."""

from typing import Any

import pytest

from daemon import Event, Ref, StepContext, emit, step, transform, workflow
from daemon.activation import Activation, Trigger, activated
from daemon.clock import ManualClock
from daemon.events.model import unpack
from daemon.log import captured_log
from daemon.store.port import Store
from daemon.trace import TRACEPARENT, TRACESTATE, Trace
from tests.contract.engine.mortal import Mortal, living
from tests.contract.engine.processes import Process, until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRIGGER = Trigger("event", "hello", "e1", "c1", f"00-{TRACE}-00f067aa0ba902b7-01", "vendor=1")


class OrderPlaced(Event, name="order.placed"):
    number: int


@step("tell")
async def tell(number: int, ctx: StepContext) -> int:
    ctx.emit(OrderPlaced(number=number))
    ctx.log.info("told")
    return number


@step("run-another")
async def run_another(number: int, ctx: StepContext) -> None:
    await inner(ctx.container).run(number)


@workflow("traced-inside")
def inner(number: Ref[int]) -> None:
    tell(number)


@workflow("traced")
def telling(number: Ref[int]) -> None:
    told = tell(number)
    inner.as_step(told)
    run_another(told)
    emit(transform(told, lambda found: OrderPlaced(number=found)))


async def headers(store: Store) -> list[dict[str, Any]]:
    """Return the headers of all events that are on their way."""
    return [dict(unpack(each.message).envelope.headers) for each in await store.outgoing("shop", limit=100)]


async def test_everything_that_a_run_emits_belongs_to_its_trace(shop: Process) -> None:
    with captured_log() as log, activated(Activation(TRIGGER, ("crm", "customer.created", "e1"))):
        await telling(shop.container).run(1)
    sent = await headers(shop.store)

    traces = [Trace.given(each) for each in sent]
    assert [trace and (trace.id, trace.state) for trace in traces] == [(TRACE, "vendor=1")] * 4
    assert len({each[TRACEPARENT] for each in sent}) == 4
    assert {line["trace_id"] for line in log if line["event"] in ("told", "run_finished", "step_finished")} == {TRACE}


async def test_a_run_of_no_trace_begins_one_for_all_that_it_emits(shop: Process) -> None:
    await telling(shop.container).run(1, run_id="order-1")
    await telling(shop.container).run(1, run_id="order-2")
    sent = await headers(shop.store)

    traces = [trace.id for each in sent if (trace := Trace.given(each)) is not None]
    assert len(traces) == 8
    assert len(set(traces)) == 2
    assert all(TRACESTATE not in each for each in sent)


@pytest.mark.parametrize("trigger", [TRIGGER, Trigger("event", "hello", "e1", "c1")], ids=["given", "begun"])
async def test_a_run_that_another_process_goes_on_with_stays_in_its_trace(
    store: Store, clock: ManualClock, trigger: Trigger
) -> None:
    heir = await living(store, clock, "heir")
    heir.engine.register([inner])
    mortal = Mortal(store, clock, at=2, committed=True)
    with activated(Activation(trigger, ("crm", "customer.created", "e1"))):
        died = await mortal.live(telling(mortal.process.container).run(1, run_id="run-1"))

    await heir.take_over(telling)
    await until(lambda: not heir.engine.running)
    run = await heir.engine.get("run-1")
    sent = await headers(store)

    assert died
    assert run.trigger == trigger
    assert {trace.id for each in sent if (trace := Trace.given(each))} == {trigger.trace("shop", "c1").id}
    assert len(sent) == 4
