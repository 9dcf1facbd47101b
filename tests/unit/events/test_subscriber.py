"""What a subscriber is, and what @subscriber refuses."""

import inspect
from datetime import timedelta
from typing import Any

import pytest

from daemon.config.model import RetryOverride, SubscriberOverride
from daemon.errors import DefinitionError
from daemon.events.bus import Subscription
from daemon.events.model import Event
from daemon.events.subscriber import Subscriber, SubscriberContext, overridden, subscriber
from daemon.retry import Retry


class OrderPlaced(Event, name="order.placed"):
    id: str


class OrderPaid(Event, name="order.paid"):
    id: str


class Nameless(Event):
    id: str


@subscriber(OrderPlaced, OrderPaid)
async def note_order(event: OrderPlaced | OrderPaid, ctx: SubscriberContext) -> None:
    pass


async def test_a_subscriber_is_named_after_its_function_and_has_the_defaults() -> None:
    assert note_order.id == "note-order"
    assert note_order.patterns == ("order.placed", "order.paid")
    assert note_order.models == {"order.placed": OrderPlaced, "order.paid": OrderPaid}
    assert note_order.retry == Retry(max_attempts=5, delay=timedelta(seconds=1), backoff=4, jitter=0.2)
    assert (note_order.concurrency, note_order.timeout, note_order.ordered) == (10, None, False)
    assert note_order.takes_context


async def test_a_subscriber_tells_where_it_was_defined() -> None:
    line = inspect.unwrap(note_order.handler).__code__.co_firstlineno

    assert note_order.where == f"{__file__}:{line}"


async def test_a_subscriber_can_be_called_like_its_function() -> None:
    seen = []

    @subscriber(OrderPlaced)
    async def note(event: OrderPlaced) -> None:
        seen.append(event.id)

    await note(OrderPlaced(id="o1"))

    assert seen == ["o1"]
    assert not note.takes_context


async def test_a_pattern_has_no_models() -> None:
    @subscriber("order.*", "customer.#", id="everything")
    async def note(event: dict[str, Any]) -> None:
        pass

    assert (note.id, note.patterns, note.models) == ("everything", ("order.*", "customer.#"), {})


@pytest.mark.parametrize(
    ("ordered", "concurrency", "prefetch"), [(False, 10, 20), (False, 50, 50), (True, 50, 1)], ids=str
)
async def test_the_prefetch_is_enough_for_the_concurrency_and_one_for_order(
    *, ordered: bool, concurrency: int, prefetch: int
) -> None:
    @subscriber(OrderPlaced, id="reader", ordered=ordered, concurrency=concurrency)
    async def note(event: OrderPlaced) -> None:
        pass

    at_once = min(prefetch, concurrency)
    assert note.subscription(20) == Subscription("reader", ("order.placed",), prefetch, ordered, at_once)


async def plain(event: OrderPlaced, ctx: SubscriberContext) -> None:
    pass


def not_async(event: OrderPlaced, ctx: SubscriberContext) -> None:
    pass


async def takes_nothing() -> None:
    pass


async def takes_three(event: OrderPlaced, ctx: SubscriberContext, more: int) -> None:
    pass


async def takes_a_dict(event: dict[str, Any], ctx: SubscriberContext) -> None:
    pass


async def takes_anything(event: Any, ctx: SubscriberContext) -> None:
    pass


def made(handler: Any, *events: Any, **options: Any) -> Subscriber[Any]:
    decorator: Any = subscriber(*events, **options)
    found: Subscriber[Any] = decorator(handler)
    return found


@pytest.mark.parametrize(
    ("handler", "events", "options", "sentence"),
    [
        (not_async, (OrderPlaced,), {}, "its handler is not async: write async def."),
        (takes_nothing, (OrderPlaced,), {}, r"its handler takes \(event, ctx\) or \(event\), not \(\) -> None"),
        (takes_three, (OrderPlaced,), {}, r"its handler takes \(event, ctx\) or \(event\), not"),
        (plain, (), {}, "it subscribes to nothing: write @subscriber"),
        (plain, ("order..placed",), {}, "'order..placed' is no event pattern"),
        (plain, (Nameless,), {}, "Nameless has no event name: write class Nameless"),
        (plain, (int,), {}, "<class 'int'> is no event"),
        (
            plain,
            (OrderPlaced, "order.*"),
            {},
            "it mixes event classes with the pattern 'order.*': write two subscribers",
        ),
        (plain, (OrderPlaced,), {"id": "Note_Order"}, "not 'Note_Order'. Write 'note-order'."),
        (plain, (OrderPlaced,), {"id": "workflows"}, "the id 'workflows' is reserved"),
        (plain, (OrderPlaced,), {"id": "wait"}, "the id 'wait' is reserved"),
        (plain, (OrderPlaced,), {"id": "unrouted"}, "the id 'unrouted' is reserved"),
        (plain, (OrderPlaced,), {"concurrency": 0}, "concurrency is 1 or more, not 0"),
        (plain, (OrderPlaced,), {"timeout": 5}, "timeout is a timedelta above zero, or None for no limit, not 5"),
        (plain, (OrderPlaced,), {"retry": 3}, "retry is a Retry, not 3"),
        (plain, ("order.*",), {}, "its handler gets a dict, because it subscribes to a pattern"),
        (plain, (OrderPaid,), {}, "its handler gets an event of OrderPaid, but its first parameter"),
        (takes_a_dict, (OrderPlaced,), {}, "its handler gets an event of OrderPlaced"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_what_cannot_be_a_subscriber_is_refused_with_its_place_and_what_to_write(
    handler: Any, events: tuple[Any, ...], options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(DefinitionError, match=rf"^subscriber '.*' \(.*test_subscriber.py:\d+\): .*{sentence}"):
        made(handler, *events, **options)


async def test_two_events_of_one_name_are_refused() -> None:
    class Again(Event, name="order.placed"):
        id: str

    with pytest.raises(DefinitionError, match=r"OrderPlaced and .*Again are both named 'order.placed'"):
        made(takes_anything, OrderPlaced, Again)


async def test_a_decorator_without_events_says_that_it_needs_one() -> None:
    with pytest.raises(DefinitionError, match=r"write @subscriber\(OrderPlaced\) above plain"):
        subscriber(plain)  # type: ignore[call-overload]


async def test_the_configuration_overrides_what_the_decorator_says() -> None:
    override = SubscriberOverride(
        concurrency=3, timeout_s=1.5, retry=RetryOverride(max_attempts=2, delay_s=0.5), enabled=True
    )

    changed = overridden(note_order, override)

    assert changed is not None
    assert (changed.concurrency, changed.timeout) == (3, timedelta(seconds=1.5))
    assert changed.retry == Retry(max_attempts=2, delay=timedelta(seconds=0.5), backoff=4, jitter=0.2)
    assert (changed.id, changed.handler) == (note_order.id, note_order.handler)


async def test_the_configuration_turns_a_subscriber_off_or_leaves_it_as_it_is() -> None:
    assert overridden(note_order, SubscriberOverride(enabled=False)) is None
    assert overridden(note_order, None) is note_order


async def test_the_configuration_does_not_widen_an_ordered_subscriber() -> None:
    ordered = made(plain, OrderPlaced, ordered=True, concurrency=10)

    changed: Subscriber[Any] | None = overridden(ordered, SubscriberOverride(concurrency=10))

    assert changed is not None
    assert changed.concurrency == 1
