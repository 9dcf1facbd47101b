"""Timers and waits, as they are composed."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import pytest
from pydantic import AwareDatetime, BaseModel

from daemon import CompositionError, Event, Ref, sleep, sleep_until, step, transform, wait_for_event, when, workflow
from daemon.workflow.nodes import SleepNode, WaitNode

HERE = "tests/unit/workflow/test_waiting.py"
HOUR = timedelta(hours=1)
MOMENT = datetime(2030, 1, 1, tzinfo=UTC)


class Order(BaseModel):
    id: str
    due: datetime
    aware: AwareDatetime
    described: Annotated[datetime, "when it is due"]


class PaymentCaptured(Event, name="payment.captured"):
    order_id: str


class Nameless(Event):
    order_id: str


@step("take")
async def take(value: Any) -> None:
    """Take it."""


async def slow(event: PaymentCaptured) -> str:
    return event.order_id


def order_id(event: PaymentCaptured) -> str:
    return event.order_id


def test_timers_and_waits_are_nodes_with_a_name_by_kind_and_ordinal() -> None:
    @workflow("waits")
    def waits(order: Ref[Order]) -> Ref[PaymentCaptured]:
        sleep(HOUR)
        sleep_until(order.pick(lambda o: o.due))
        sleep_until(order.pick(lambda o: o.aware))
        sleep_until(order.pick(lambda o: o.described), name="at-last")
        sleep_until(transform(order, lambda o: o.due + HOUR))
        sleep_until(MOMENT)
        sleep(timedelta(0))
        wait_for_event(PaymentCaptured, key="any", match=order_id)
        return wait_for_event(PaymentCaptured, key=order.pick(lambda o: o.id), match=order_id, timeout=HOUR)

    timers = [node for node in waits.graph.nodes if isinstance(node, SleepNode)]
    known, last = (node for node in waits.graph.nodes if isinstance(node, WaitNode))
    assert [node.name for node in timers] == [
        "sleep-1",
        "sleep-until-1",
        "sleep-until-2",
        "at-last",
        "sleep-until-3",
        "sleep-until-4",
        "sleep-2",
    ]
    assert [node.delay for node in timers] == [HOUR, None, None, None, None, None, timedelta(0)]
    assert timers[0].operands == ()
    assert timers[5].operands[0].resolve([]) == MOMENT
    assert (known.name, last.name) == ("wait-for-event-1", "wait-for-event-2")
    assert (known.timeout, last.timeout) == (None, HOUR)
    assert known.key.resolve([]) == "any"
    assert waits.graph.by_name["wait-for-event-2"] is last
    assert waits.graph.result_codec.type is PaymentCaptured


def test_what_a_timer_and_a_wait_are_identifies_them_in_the_graph() -> None:
    @workflow("described-waits")
    def waits(order: Ref[Order]) -> None:
        sleep(HOUR)
        sleep_until(order.pick(lambda o: o.due))
        wait_for_event(PaymentCaptured, key=order.pick(lambda o: o.id), match=order_id, timeout=HOUR)

    assert [node.describe() for node in waits.graph.nodes] == [
        {"kind": "sleep", "name": "sleep-1", "inputs": [], "delay_s": 3600.0},
        {"kind": "sleep_until", "name": "sleep-until-1", "inputs": [{"from": "", "path": ".due"}]},
        {
            "kind": "wait_for_event",
            "name": "wait-for-event-1",
            "inputs": [{"from": "", "path": ".id"}],
            "event": "payment.captured",
            "timeout_s": 3600.0,
            "function": "tests.unit.workflow.test_waiting:order_id",
        },
    ]


def test_another_match_is_another_graph() -> None:
    def composed(match: Callable[[PaymentCaptured], object], name: str) -> bytes:
        @workflow(name)
        def waits() -> None:
            wait_for_event(PaymentCaptured, key="1", match=match)

        return waits.graph.json.replace(name.encode(), b"")

    assert composed(lambda e: e.order_id, "matched") != composed(lambda e: e.order_id[1:], "matched-2")


def test_what_an_event_brought_is_used_as_its_class_says() -> None:
    @workflow("paid")
    def paid(order: Ref[Order]) -> Ref[str]:
        with when(order, lambda o: o.due > MOMENT) as late:
            payment = wait_for_event(PaymentCaptured, key=order.pick(lambda o: o.id), match=order_id)
        take(late.output(payment))
        return transform(late.output(payment), lambda p: "" if p is None else p.order_id)

    assert paid.graph.by_name["wait-for-event-1"] is not None


WRONG: dict[str, tuple[Callable[[Ref[Order]], Any], str]] = {
    "a number": (lambda _: sleep(5), "sleep takes a timedelta, not 5: sleep(timedelta(seconds=...))."),  # type: ignore[arg-type]
    "a ref": (
        lambda order: sleep(order.pick(lambda o: o.id)),  # type: ignore[arg-type]
        "<ref to the workflow's input.id>. For a time that exists only in a run, write sleep_until(transform(ref, ",
    ),
    "a time before now": (lambda _: sleep(-HOUR), "sleep takes 0 to 100 years, not -1 day, 23:00:00."),
    "a time without an end": (lambda _: sleep(timedelta.max), "sleep takes 0 to 100 years, not"),
    "a name twice": (
        lambda _: [sleep(HOUR, name="pause"), sleep(HOUR, name="pause")],  # type: ignore[func-returns-value]
        'give one of them another name: sleep(..., name="...").',
    ),
    "until a text": (
        lambda order: sleep_until(order.pick(lambda o: o.id)),  # type: ignore[arg-type, return-value]
        "sleep_until takes the ref of a datetime, and <ref to the workflow's input.id> is declared as something else;",
    ),
    "until a time": (
        lambda _: sleep_until(HOUR),  # type: ignore[arg-type]
        "not datetime.timedelta(seconds=3600); for a time, write sleep(timedelta(...)).",
    ),
    "until a naive moment": (
        lambda _: sleep_until(datetime(2030, 1, 1)),  # noqa: DTZ001 - the mistake
        "sleep_until takes an aware datetime, not 2030-01-01 00:00:00: write datetime(..., tzinfo=UTC).",
    ),
    "no event": (
        lambda _: wait_for_event("payment.captured", key=1, match=order_id),  # type: ignore[arg-type]
        "wait_for_event takes the class of an event, not 'payment.captured': wait_for_event(OrderPlaced, key=ref, ",
    ),
    "an event without a name": (
        lambda _: wait_for_event(Nameless, key=1, match=lambda e: e.order_id),
        "wait_for_event: Nameless has no event name: write class Nameless(Event, name='order.placed').",
    ),
    "an async match": (
        lambda _: wait_for_event(PaymentCaptured, key=1, match=slow),
        "match of wait_for_event takes a pure function, not an async def; what waits belongs into a step.",
    ),
    "a ref as the match": (
        lambda order: wait_for_event(PaymentCaptured, key=1, match=order),  # type: ignore[arg-type]
        "match of wait_for_event is a plain function of the event: match=lambda e: e.order_id.",
    ),
    "a ref inside the key": (
        lambda order: wait_for_event(PaymentCaptured, key=[order], match=order_id),
        "the key of 'wait-for-event-1' has <ref to the workflow's input> inside a plain value.",
    ),
    "a timeout in seconds": (
        lambda _: wait_for_event(PaymentCaptured, key=1, match=order_id, timeout=5),  # type: ignore[arg-type]
        "the timeout of wait_for_event is a timedelta, not 5: write timedelta(seconds=...).",
    ),
    "a timeout of nothing": (
        lambda _: wait_for_event(PaymentCaptured, key=1, match=order_id, timeout=timedelta(0)),
        "leave it out for none.",
    ),
}


@pytest.mark.parametrize(("compose", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_wait_that_no_run_could_end_is_refused_with_its_place(
    compose: Callable[[Ref[Order]], Any], said: str
) -> None:
    with pytest.raises(CompositionError) as refused:

        @workflow("attempt")
        def _(order: Ref[Order]) -> None:
            compose(order)

    assert said in str(refused.value)
    assert HERE in str(refused.value)


def test_a_value_made_in_a_branch_that_may_not_run_is_no_moment() -> None:
    with pytest.raises(CompositionError, match="is declared as something else"):

        @workflow("attempt")
        def _(order: Ref[Order]) -> None:
            with when(order, bool) as branch:
                due = transform(order, due_of)
            sleep_until(branch.output(due))  # type: ignore[arg-type]


def due_of(order: Order) -> datetime:
    return order.due


@pytest.mark.parametrize(
    ("use", "instead"),
    [
        (lambda: sleep(HOUR), "in a step, wait with asyncio.sleep."),
        (lambda: sleep_until(MOMENT), "in a step, wait with asyncio.sleep."),
        (lambda: wait_for_event(PaymentCaptured, key=1, match=order_id), "elsewhere, write a @subscriber."),
    ],
    ids=["sleep", "sleep_until", "wait_for_event"],
)
def test_waiting_outside_a_composition_is_refused(use: Callable[[], object], instead: str) -> None:
    with pytest.raises(CompositionError) as refused:
        use()

    assert str(refused.value).startswith(f"{HERE}:")
    assert str(refused.value).endswith(instead)
