"""What a run emits: staged with it, published after it has completed, dropped when it rolls back."""

import json
from datetime import timedelta
from typing import Any

import pytest

from daemon import (
    DefinitionError,
    Event,
    PayloadTooLargeError,
    Ref,
    Retry,
    RunStatus,
    StepContext,
    WorkflowFailed,
    sleep,
    step,
    workflow,
)
from daemon.activation import Activation, Trigger, activated
from daemon.clock import ManualClock
from daemon.events.model import Message, unpack
from daemon.store.port import Store
from daemon.workflow.workflow import Workflow
from tests.contract.engine.processes import Journal, Process


class OrderPlaced(Event, name="order.placed"):
    number: int


class ScanTaken(Event, name="scan.taken"):
    pixels: bytes


class Nameless(Event):
    number: int


async def _outgoing(store: Store) -> list[Message]:
    return [unpack(each.message) for each in await store.outgoing("shop", limit=100)]


def _emitting(journal: Journal, *, fails: bool = False, immediately: bool = False) -> Workflow[int, int]:
    @step("emit", retry=Retry(max_attempts=2))
    async def emit(number: int, ctx: StepContext) -> int:
        event = OrderPlaced(number=number)
        ctx.emit(event, immediately=immediately)
        event.number = -1
        ctx.emit(OrderPlaced(number=number + 1), immediately=immediately)
        journal.append(f"attempt {ctx.attempt}")
        if ctx.attempt == 1:
            raise OSError
        return number

    last = journal.failing() if fails else journal.step("last")

    @workflow("emitting")
    def emitting(number: Ref[int]) -> Ref[int]:
        result = emit(number)
        last()
        return result

    return emitting


async def test_what_a_run_emits_is_published_when_it_has_completed(shop: Process, journal: Journal) -> None:
    await _emitting(journal)(shop.container).run(1, run_id="emit-1")

    messages = await _outgoing(shop.store)

    assert [json.loads(message.body) for message in messages] == [{"number": 1}, {"number": 2}]
    assert {message.envelope.name for message in messages} == {"order.placed"}
    assert {message.envelope.source for message in messages} == {"shop"}
    assert len({message.envelope.id for message in messages}) == 2
    assert {message.envelope.correlation_id for message in messages} == {"emit-1"}
    assert shop.staged == 1


async def test_what_a_run_emitted_before_it_waited_leaves_as_soon_as_it_has_completed(
    shop: Process, clock: ManualClock
) -> None:
    @step("emit-first")
    async def emit_first(_: int, ctx: StepContext) -> None:
        ctx.emit(OrderPlaced(number=1))

    @workflow("napping")
    def napping(value: Ref[int]) -> None:
        emit_first(value)
        sleep(timedelta(days=1))

    await napping(shop.container).run(1, run_id="nap-1")
    told_before = shop.staged
    clock.advance(timedelta(days=1))
    await napping(shop.container).run(1, run_id="nap-1", wait=True)

    assert len(await _outgoing(shop.store)) == 1
    assert shop.staged == told_before + 1


async def test_an_event_without_a_json_form_fails_its_step_finally(shop: Process, journal: Journal) -> None:
    @step("scan", retry=Retry(max_attempts=3))
    async def scan(pixels: bytes, ctx: StepContext) -> None:
        journal.append("scan")
        ctx.emit(ScanTaken(pixels=pixels))

    @workflow("scanning")
    def scanning(pixels: Ref[bytes]) -> None:
        scan(pixels)

    with pytest.raises(WorkflowFailed, match=r"event 'scan\.taken' has no JSON form at pixels"):
        await scanning(shop.container).run(b"\xff")

    assert journal == ["scan"]


async def test_nothing_is_published_before_the_run_has_completed(shop: Process, journal: Journal) -> None:
    seen: list[int] = []

    @step("emit-first")
    async def emit_first(_: int, ctx: StepContext) -> None:
        ctx.emit(OrderPlaced(number=1))

    @step("look")
    async def look() -> None:
        seen.append(len(await _outgoing(shop.store)))

    @workflow("looking")
    def looking(value: Ref[int]) -> None:
        emit_first(value)
        look()

    await looking(shop.container).run(1)

    assert seen == [0]
    assert len(await _outgoing(shop.store)) == 1


async def test_what_a_run_emits_is_dropped_when_it_rolls_back(shop: Process, journal: Journal) -> None:
    run = await _emitting(journal, fails=True)(shop.container).run(1, raise_on_error=False)

    assert run.status is RunStatus.REVERTED
    assert await _outgoing(shop.store) == []


async def test_an_immediate_event_is_published_once_whatever_becomes_of_the_run(
    shop: Process, journal: Journal
) -> None:
    await _emitting(journal, fails=True, immediately=True)(shop.container).run(1, raise_on_error=False)

    messages = await _outgoing(shop.store)

    assert journal == ["attempt 1", "attempt 2", "break"]
    assert [json.loads(message.body) for message in messages] == [{"number": 1}, {"number": 2}]


async def test_a_compensation_may_tell_of_what_it_undid(shop: Process, journal: Journal) -> None:
    @step("charge")
    async def charge() -> int:
        return 7

    @charge.compensate
    async def refund(number: int, ctx: StepContext) -> None:
        ctx.emit(OrderPlaced(number=number), immediately=True)
        ctx.emit(OrderPlaced(number=0))

    broken = journal.failing()

    @workflow("telling")
    def telling() -> None:
        charge()
        broken()

    await telling(shop.container).run(raise_on_error=False)

    assert [json.loads(message.body) for message in await _outgoing(shop.store)] == [{"number": 7}]


async def test_the_ids_of_events_are_the_same_in_every_repetition(clock: ManualClock, journal: Journal) -> None:
    from daemon.store.memory import MemoryStore  # noqa: PLC0415 - two stores, to compare

    ids = []
    for _ in range(2):
        shop = Process(MemoryStore(), clock, "process-1")
        await _emitting(journal)(shop.container).run(1, run_id="emit-1")
        ids.append([message.envelope.id for message in await _outgoing(shop.store)])

    assert ids[0] == ids[1]


async def test_an_event_emitted_while_another_is_handled_says_so(shop: Process, journal: Journal) -> None:
    trigger = Trigger("event", "hello-customer", "event-1", "the-first-event")

    with activated(Activation(trigger, ("crm", "customer.created", "event-1"))):
        run = await _emitting(journal)(shop.container).run(1)
    envelope = (await _outgoing(shop.store))[0].envelope

    assert run.trigger == trigger
    assert (envelope.correlation_id, envelope.causation_id) == ("the-first-event", "event-1")


@pytest.mark.parametrize(
    ("event", "kind", "message"),
    [
        (Nameless(number=1), DefinitionError, "Nameless has no event name"),
        (OrderPlaced(number=10**2_000), PayloadTooLargeError, "event 'order.placed' is 2,"),
        (
            {"number": 1},
            DefinitionError,
            "An event is expected, and this is of type dict: make one of",
        ),
        (OrderPlaced, DefinitionError, "An event is expected, and this is a class: make one of"),
    ],
)
async def test_an_event_that_cannot_be_published_fails_its_step(
    store: Store, clock: ManualClock, event: Any, kind: type[Exception], message: str
) -> None:
    shop = Process(store, clock, "process-1", limit=1_000)

    @step("emit-wrong")
    async def emit_wrong(_: int, ctx: StepContext) -> None:
        ctx.emit(event)

    @workflow("emitting-wrong")
    def emitting_wrong(value: Ref[int]) -> None:
        emit_wrong(value)

    with pytest.raises(WorkflowFailed, match=message) as failed:
        await emitting_wrong(shop.container).run(1)

    assert isinstance(failed.value.__cause__, kind)


# --- runs that are started while something is handled ---


async def test_a_handling_that_is_repeated_finds_its_runs_again(shop: Process, journal: Journal) -> None:
    first = journal.step("first")

    @workflow("handled")
    def handled() -> Ref[str]:
        return first()

    async def handle(event_id: str) -> list[str]:
        with activated(Activation(Trigger("event", "hello-customer", event_id), ("crm", "customer.created", event_id))):
            return [(await handled(shop.container).run()).run_id for _ in range(2)]

    once, again, other = await handle("e1"), await handle("e1"), await handle("e2")

    assert once == again
    assert len({*once, *other}) == 4
    assert all(run_id.startswith("hello-customer:handled:") for run_id in once)
    assert journal == ["first"] * 4


async def test_a_step_and_its_compensation_start_runs_of_their_own(shop: Process, journal: Journal) -> None:
    @step("move")
    async def move(amount: int) -> int:
        journal.append(f"move {amount}")
        return amount

    @workflow("transfer")
    def transfer(amount: Ref[int]) -> Ref[int]:
        return move(amount)

    @step("pay", retry=Retry(max_attempts=2))
    async def pay(amount: int, ctx: StepContext) -> int:
        run = await transfer(ctx.container).run(amount)
        assert (run.trigger.kind, run.trigger.name, run.trigger.id) == ("run", "paying", "paying-1")
        if ctx.attempt == 1:
            raise OSError
        return run.result

    @pay.compensate
    async def pay_back(amount: int, ctx: StepContext) -> None:
        await transfer(ctx.container).run(-amount)

    broken = journal.failing()

    @workflow("paying")
    def paying(amount: Ref[int]) -> None:
        pay(amount)
        broken()

    run: Any = await paying(shop.container).run(5, run_id="paying-1", raise_on_error=False)

    assert run.status is RunStatus.REVERTED
    assert journal == ["move 5", "break", "move -5"]
