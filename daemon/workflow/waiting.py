"""What a run waits for without a task or a connection: a time, a moment, an event."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from typing_extensions import TypeVar

from daemon.errors import CompositionError, DefinitionError
from daemon.events.model import Event, name_of
from daemon.workflow.codec import Codec
from daemon.workflow.composer import composing
from daemon.workflow.nodes import SleepNode, WaitNode
from daemon.workflow.pure import check_pure
from daemon.workflow.ref import Ref
from daemon.workflow.signature import LONGEST, check_time, codec_or_any, may_be, where_called

E = TypeVar("E", bound=Event)


def sleep(delay: timedelta, /, *, name: str | None = None) -> None:
    """Wait for a time, counted from when the run gets here; a restart does not shorten or repeat it.

    Raises:
        CompositionError: Outside a composition, or with something else than a timedelta of 0 to 100 years.
    """
    composer = composing("sleep", "in a step, wait with asyncio.sleep")
    where = where_called()
    given: Any = delay
    if isinstance(given, Ref):
        raise CompositionError(
            f"{where}: sleep takes a timedelta that is known while composing, not {given!r}. For a time that exists "
            "only in a run, write sleep_until(transform(ref, lambda v: ...)), with a function that returns a datetime."
        )
    if not isinstance(given, timedelta):
        raise CompositionError(f"{where}: sleep takes a timedelta, not {given!r}: sleep(timedelta(seconds=...)).")
    if not timedelta(0) <= delay <= LONGEST:
        raise CompositionError(f"{where}: sleep takes 0 to 100 years, not {delay}.")
    composer.block.nodes.append(SleepNode(composer.name_for("sleep", name, where, "sleep"), delay, None, where))


def sleep_until(moment: Ref[datetime] | datetime, /, *, name: str | None = None) -> None:
    """Wait until a moment; one that has passed is not waited for.

    Args:
        moment: Aware: a datetime without a zone is no moment, and fails the run.
        name: What it is called in a run; left out: `sleep-until-1`.

    Raises:
        CompositionError: Outside a composition, or with something else than an aware datetime or a ref of one.
    """
    composer = composing("sleep_until", "in a step, wait with asyncio.sleep")
    where = where_called()
    if isinstance(moment, Ref):
        type_ = moment._operand.type  # noqa: SLF001 - a ref has no public attributes, so that its user finds none
        if not may_be(type_, datetime):
            raise CompositionError(
                f"{where}: sleep_until takes the ref of a datetime, and {moment!r} is declared as something else; "
                "write sleep_until(transform(ref, lambda v: ...)), with a function that returns a datetime."
            )
    elif not isinstance(moment, datetime):
        raise CompositionError(
            f"{where}: sleep_until takes an aware datetime or the ref of one, not {moment!r}; "
            "for a time, write sleep(timedelta(...))."
        )
    elif moment.utcoffset() is None:
        raise CompositionError(
            f"{where}: sleep_until takes an aware datetime, not {moment}: write datetime(..., tzinfo=UTC)."
        )
    named = composer.name_for("sleep-until", name, where, "sleep_until")
    operand = composer.take(moment, Codec(datetime), f"the moment of {named!r}", where)
    composer.block.nodes.append(SleepNode(named, None, operand, where))


def wait_for_event(
    event: type[E],
    *,
    key: object,
    match: Callable[[E], object],
    timeout: timedelta | None = None,
    name: str | None = None,
) -> Ref[E]:
    """Wait for the first event whose `match` is equal to `key`.

    An event that came in after the run had started, but before the run got here, counts; every run whose key matches
    goes on.

    Args:
        event: The event's class.
        key: A ref, or a value: what `match` of the event has to be equal to, as JSON (17 is not 17.0).
        match: The part of an event that is compared: a pure function.
        timeout: How long to wait, counted from when the run gets here: then the node fails with `WaitTimeout`;
            left out: as long as it takes.
        name: What it is called in a run; left out: `wait-for-event-1`.

    Raises:
        CompositionError: Outside a composition, without an event that has a name, or without a plain function.
    """
    composer = composing("wait_for_event", "elsewhere, write a @subscriber")
    where = where_called()
    if not isinstance(event, type) or not issubclass(event, Event):
        raise CompositionError(
            f"{where}: wait_for_event takes the class of an event, not {event!r}: "
            "wait_for_event(OrderPlaced, key=ref, match=lambda e: e.order_id)."
        )
    try:
        name_of(event)
    except DefinitionError as error:
        raise CompositionError(f"{where}: wait_for_event: {error}") from None
    said = "match of wait_for_event is a plain function of the event: match=lambda e: e.order_id."
    check_pure(match, [(f"the event {event.__event_name__!r}", event)], "match of wait_for_event", said, where)
    check_time(timeout, "the timeout of wait_for_event", where)
    named = composer.name_for("wait-for-event", name, where, "wait_for_event")
    operand = composer.operand(key, codec_or_any(type(key)), f"the key of {named!r}", where)
    node = WaitNode(named, composer.new_slot(), event, operand, match, timeout, where)
    return composer.record(node, event, f"the event of {named!r}")
