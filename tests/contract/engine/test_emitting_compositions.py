"""Events that a composition emits, and those of children: when they leave, in which order, and what they carry."""

import json
from typing import Any

import pytest

from daemon import (
    Event,
    PermanentFailure,
    Ref,
    RunStatus,
    Step,
    StepContext,
    WorkflowFailed,
    emit,
    step,
    transform,
    when,
    workflow,
)
from daemon.activation import Activation, Trigger, activated
from daemon.clock import ManualClock
from daemon.events.model import Message, unpack
from daemon.store.port import Store
from daemon.workflow.workflow import SourceWorkflow, Workflow
from tests.contract.engine.crashing import survivals
from tests.contract.engine.processes import Journal, Process


class Counted(Event, name="number.counted"):
    number: int


async def _outgoing(store: Store) -> list[Message]:
    return [unpack(each.message) for each in await store.outgoing("shop", limit=1_000)]


async def _numbers(store: Store) -> list[int]:
    return [json.loads(message.body)["number"] for message in await _outgoing(store)]


def _count(name: str, *, fails: bool = False) -> Step[int, int, Any]:
    """Return a step that emits its number."""

    @step(name)
    async def count(number: int, ctx: StepContext) -> int:
        ctx.emit(Counted(number=number))
        ctx.emit(Counted(number=number + 500), immediately=True)
        if fails:
            raise PermanentFailure("no")
        return number

    return count


async def test_events_leave_after_completion_in_the_order_of_steps_and_composition(shop: Process) -> None:
    seen: list[list[int]] = []

    @step("look")
    async def look() -> None:
        seen.append(await _numbers(shop.store))

    @workflow("counting")
    def counting(number: Ref[int]) -> None:
        emit(Counted(number=0))
        got = _count("one")(number)
        emit(transform(got, lambda n: Counted(number=n + 1)))
        _count("three")(3)
        emit(Counted(number=4))
        look()

    await counting(shop.container).run(1, run_id="c-1")
    messages = await _outgoing(shop.store)

    assert seen == [[501, 503]]
    assert [json.loads(message.body)["number"] for message in messages] == [501, 503, 0, 1, 2, 3, 4]
    assert len({message.envelope.id for message in messages}) == 7
    assert {message.envelope.correlation_id for message in messages} == {"c-1"}
    assert {message.envelope.name for message in messages} == {"number.counted"}
    assert shop.staged == 1


def _failing(journal: Journal, *, immediately: bool) -> SourceWorkflow[None]:
    broken = journal.failing()

    @workflow("failing")
    def failing() -> None:
        emit(Counted(number=1), immediately=immediately)
        broken()

    return failing


@pytest.mark.parametrize(("immediately", "left"), [(False, []), (True, [1])])
async def test_they_are_dropped_when_the_run_rolls_back_unless_they_left_immediately(
    shop: Process, journal: Journal, left: list[int], *, immediately: bool
) -> None:
    run = await _failing(journal, immediately=immediately)(shop.container).run(raise_on_error=False)

    assert run.status is RunStatus.REVERTED
    assert await _numbers(shop.store) == left


async def test_an_immediate_event_is_durable_before_the_next_step(shop: Process) -> None:
    seen: list[int] = []

    @step("look")
    async def look() -> None:
        seen.extend(await _numbers(shop.store))

    @workflow("at-once")
    def at_once() -> None:
        emit(Counted(number=1), immediately=True, name="tell")
        look()

    await at_once(shop.container).run()

    assert seen == [1]


async def test_an_event_in_a_branch_leaves_if_the_branch_is_taken(shop: Process) -> None:
    @workflow("branching")
    def branching(number: Ref[int]) -> None:
        with when(number, lambda n: n > 5) as large:
            emit(transform(number, lambda n: Counted(number=n)))
        with large.otherwise():
            emit(Counted(number=0))

    for number in (3, 7):
        await branching(shop.container).run(number)

    assert await _numbers(shop.store) == [0, 7]


class Nameless(Event):
    number: int


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (Counted(number=10**900), "'emit-1' after 1 attempt: PayloadTooLargeError: event 'number.counted' is 9"),
        (17, "'emit-1' after 1 attempt: TypeError: emit takes an event, and got int"),
        (Nameless(number=1), "'emit-1' after 1 attempt: DefinitionError: .*Nameless has no event name"),
        (None, "emit takes an event, and got NoneType"),
    ],
)
async def test_what_cannot_be_emitted_fails_the_run_under_the_name_of_the_node(
    store: Store, clock: ManualClock, journal: Journal, made: Any, message: str
) -> None:
    shop, first = Process(store, clock, "process-1", limit=800), journal.step("first")

    @workflow("emitting-wrong")
    def emitting_wrong() -> None:
        emit(transform(first(), lambda _: made))

    with pytest.raises(WorkflowFailed, match=message):
        await emitting_wrong(shop.container).run()

    assert journal == ["first", "undo first"]


# --- children ---


def _family(journal: Journal, *, fails: bool = False) -> Workflow[int, None]:
    """Return a workflow whose steps, children and compositions emit."""

    @workflow("inner")
    def inner(number: Ref[int]) -> None:
        _count("three")(transform(number, lambda n: n + 2))
        emit(Counted(number=4))

    @workflow("middle")
    def middle(number: Ref[int]) -> Ref[int]:
        emit(transform(number, lambda n: Counted(number=n + 1)))
        inner.as_step(number)
        return _count("five")(5)

    last = journal.failing("last") if fails else journal.step("last")

    zero, one = _count("zero"), _count("one")

    @workflow("outer")
    def outer(number: Ref[int]) -> None:
        zero(0)
        one(number)
        middle.as_step(number)
        emit(Counted(number=6))
        last()

    return outer


async def test_the_events_of_children_wait_for_the_run_at_the_top(shop: Process, journal: Journal) -> None:
    trigger = Trigger("event", "hello", "event-1", "the-first-event")
    with activated(Activation(trigger, ("crm", "customer.created", "event-1"))):
        await _family(journal)(shop.container).run(1, run_id="o-1")

    messages = await _outgoing(shop.store)
    numbers = [json.loads(message.body)["number"] for message in messages]

    assert numbers == [500, 501, 503, 505, 0, 1, 2, 3, 4, 5, 6]
    assert len({message.envelope.id for message in messages}) == 11
    assert {message.envelope.correlation_id for message in messages} == {"the-first-event"}
    assert {message.envelope.causation_id for message in messages} == {"event-1"}
    assert (await shop.engine.get("o-1:middle")).trigger.correlation_id == "the-first-event"


async def test_the_events_of_children_are_dropped_with_the_run_and_immediate_ones_leave(
    shop: Process, journal: Journal
) -> None:
    run = await _family(journal, fails=True)(shop.container).run(1, raise_on_error=False)

    assert run.status is RunStatus.REVERTED
    assert await _numbers(shop.store) == [500, 501, 503, 505]


async def test_a_failed_attempt_in_a_child_drops_its_events(shop: Process) -> None:
    count = _count("one", fails=True).options(on_failure="continue")

    @workflow("inner")
    def inner() -> None:
        count(1)
        emit(Counted(number=2))

    @workflow("outer")
    def outer() -> None:
        inner.as_step()

    await outer(shop.container).run(run_id="o-1")

    assert await _numbers(shop.store) == [501, 2]
    assert {message.envelope.correlation_id for message in await _outgoing(shop.store)} == {"o-1"}


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("fails", [False, True])
async def test_every_event_leaves_once_and_with_the_same_id_after_a_crash_at_any_commit(
    store: Store, clock: ManualClock, *, fails: bool, committed: bool
) -> None:
    def make(journal: Journal) -> SourceWorkflow[None]:
        family = _family(journal, fails=fails)

        @workflow("given")
        def given() -> None:
            family.as_step(1)
            emit(Counted(number=7))

        return given

    immediate, staged = [500, 501, 503, 505], [] if fails else [0, 1, 2, 3, 4, 5, 6, 7]
    async for survival in survivals(store, clock, make, committed=committed):
        run_id = survival.run.run_id
        mine = [each for each in await _outgoing(store) if each.envelope.correlation_id == run_id]
        numbers = [json.loads(message.body)["number"] for message in mine]

        assert (sorted(numbers[:4]), numbers[4:]) == (immediate, staged)
        assert len({message.envelope.id for message in mine}) == len(numbers)
